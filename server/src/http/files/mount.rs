//! Mounts: which folder a request means (`http_static.mount`).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Vhost;

/// All folders.
pub(super) struct Mounts(Vec<Mount>);

/// A folder, and the addresses that it serves.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// The host that requests must be for; all, if there is none.
    host: Option<String>,
    /// The names with which paths must begin.
    prefix: Vec<OsString>,
    /// The folder.
    pub(super) dir: PathBuf,
    /// It is `http_server.dir`.
    pub(super) is_root: bool,
}

impl Mounts {
    /// The folders of the vhosts that are on, and `root` for everything else.
    pub(super) fn new(vhosts: &[Arc<Vhost>], root: Option<&Path>) -> Self {
        let of_vhost = |vhost: &Arc<Vhost>| {
            let files = vhost.http_static.as_ref().filter(|_| vhost.enabled)?;
            Some(Mount::new(&vhost.name, &files.mount, files.dir.clone()))
        };
        let root = root.map(|dir| Mount { is_root: true, ..Mount::new("", "/", dir.to_owned()) });
        Self(vhosts.iter().filter_map(of_vhost).chain(root).collect())
    }

    /// The folder for a path at this host, and what of the path is below it. Folders of the host come before those of every
    /// host, then the longest prefix wins, then the first in the configuration.
    pub(super) fn find<'n>(&self, host: &str, names: &'n [OsString]) -> Option<(&Mount, &'n [OsString])> {
        let fits = |mount: &&Mount| {
            names.starts_with(&mount.prefix)
                && mount.host.as_ref().is_none_or(|own| own.eq_ignore_ascii_case(host))
        };
        let rank = |mount: &&Mount| (mount.host.is_some(), mount.prefix.len());
        let mount = self.0.iter().rev().filter(fits).max_by_key(rank)?;
        Some((mount, &names[mount.prefix.len()..]))
    }

    /// `http_server.dir`.
    pub(super) fn root(&self) -> Option<&Mount> {
        self.0.iter().find(|mount| mount.is_root)
    }
}

impl Mount {
    fn new(vhost: &str, mount: &str, dir: PathBuf) -> Self {
        let mount = format!("{}/", mount.replace("[vhost]", vhost)).replace("__defaultVhost__/", "/");
        let (host, path) = mount.split_once('/').unwrap_or_default();
        let names = path.split('/').filter(|name| !name.is_empty());
        Self {
            host: (!host.is_empty()).then(|| host.to_owned()),
            prefix: names.map(OsString::from).collect(),
            dir,
            is_root: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};

    fn mounts(vhosts: &str) -> Mounts {
        let text = format!("listen 1935; {vhosts}");
        let config = Config::parse("test", text.as_bytes(), &Environment::default()).unwrap();
        Mounts::new(&config.vhosts, Some(Path::new("root")))
    }

    fn vhost(name: &str, mount: &str, dir: &str) -> String {
        format!("vhost {name} {{ http_static {{ enabled on; mount {mount}; dir {dir}; }} }}")
    }

    /// The folder, and the path in it.
    fn found(mounts: &Mounts, host: &str, path: &str) -> String {
        let names: Vec<_> = path.split('/').filter(|n| !n.is_empty()).map(OsString::from).collect();
        let (mount, below) = mounts.find(host, &names).unwrap();
        mount.dir.join(below.iter().collect::<PathBuf>()).to_str().unwrap().to_owned()
    }

    #[test]
    fn a_mount_with_a_host_serves_this_host() {
        let mounts = mounts(&vhost("a.com", "[vhost]/", "of-[vhost]"));
        assert_eq!(found(&mounts, "a.com", "/x/y"), "of-a.com/x/y");
        assert_eq!(found(&mounts, "A.com", "/x"), "of-a.com/x");
        assert_eq!(found(&mounts, "b.com", "/x"), "root/x");
        assert!(mounts.root().is_some_and(|root| root.dir == Path::new("root")));
    }

    #[test]
    fn the_default_vhost_and_mounts_without_a_host_serve_every_host() {
        let mounts = mounts(&format!(
            "{} {}",
            vhost("__defaultVhost__", "[vhost]/vod", "d"),
            vhost("a.com", "/films/old/", "f")
        ));
        assert_eq!(found(&mounts, "x", "/vod/1.mp4"), "d/1.mp4");
        assert_eq!(found(&mounts, "a.com", "/vod"), "d/");
        assert_eq!(found(&mounts, "x", "/vodka/1.mp4"), "root/vodka/1.mp4");
        assert_eq!(found(&mounts, "x", "/films/old/1.mp4"), "f/1.mp4");
        assert_eq!(found(&mounts, "x", "/films/1.mp4"), "root/films/1.mp4");
    }

    #[test]
    fn which_of_several() {
        let mounts = mounts(&format!(
            "{} {} {} {} {}",
            vhost("a.com", "[vhost]/", "a"),
            vhost("b.com", "/vod/", "b"),
            vhost("c.com", "/vod/new", "c"),
            vhost("d.com", "/vod/", "d"),
            vhost("e.com", "a.com/vod/very/new", "e"),
        ));
        assert_eq!(found(&mounts, "x", "/vod/1"), "b/1");
        assert_eq!(found(&mounts, "x", "/vod/new/1"), "c/1");
        assert_eq!(found(&mounts, "a.com", "/vod/new/1"), "a/vod/new/1");
        assert_eq!(found(&mounts, "a.com", "/vod/very/new/1"), "e/1");
        assert_eq!(found(&mounts, "x", "/"), "root/");
    }

    #[test]
    fn a_mount_of_the_root_takes_the_place_of_the_servers_folder() {
        let mounts = mounts(&vhost("a.com", "/", "a"));
        assert_eq!(found(&mounts, "x", "/1"), "a/1");
        assert!(mounts.root().is_some());
    }

    #[test]
    fn a_vhost_that_is_off_has_no_mount() {
        let off = vhost("a.com", "[vhost]/", "a").replace("http_static", "enabled off; http_static");
        assert_eq!(found(&mounts(&off), "a.com", "/1"), "root/1");
    }
}
