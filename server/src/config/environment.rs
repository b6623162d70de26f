//! The environment as the configuration sees it: names and values, and whether this is a container, taken once. Which
//! directive a variable belongs to is in the table of directives.

use std::collections::BTreeMap;

/// A snapshot of environment variables.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    container: bool,
}

impl Environment {
    /// The variables of this process; what is not UTF-8 is replaced.
    pub fn of_process() -> Self {
        let mut environment: Self = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect();
        environment.container = is_container();
        environment
    }

    /// The process runs in a container.
    pub fn is_container(&self) -> bool {
        self.container
    }

    /// The same, said to be in a container.
    pub fn in_container(mut self) -> Self {
        self.container = true;
        self
    }

    /// The value of `name`; an empty one counts as unset, as in SRS.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether `name` is there at all, perhaps empty.
    pub fn contains(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }

    /// All names that begin with `prefix`.
    pub fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.variables.keys().map(String::as_str).filter(move |name| name.starts_with(prefix))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { variables, container: false }
    }
}

/// What SRS looks at, which is Docker with cgroups v1, and what Docker and Podman leave in the root today.
fn is_container() -> bool {
    let cgroup = std::fs::read("/proc/1/cgroup").unwrap_or_default();
    let start = &cgroup[..cgroup.len().min(1024)];
    start.windows(7).any(|at| at == b"/docker")
        || ["/.dockerenv", "/run/.containerenv"].iter().any(|path| std::path::Path::new(path).exists())
}
