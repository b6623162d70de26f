//! A page of metrics in Prometheus's text format, version 0.0.4.

use std::fmt::{Display, Write};

/// See the module.
#[derive(Default)]
pub(super) struct Page(String);

/// A metric that is being written: one sample for each set of labels.
pub(super) struct Family<'p> {
    page: &'p mut String,
    name: &'static str,
}

/// A name and a value; pairs without a value are left out.
pub(super) type Label<'l> = (&'static str, &'l str);

impl Page {
    /// A figure that rises and falls.
    pub(super) fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, help, "gauge")
    }

    /// A figure that only rises, while the server runs.
    pub(super) fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, help, "counter")
    }

    fn family(&mut self, name: &'static str, help: &str, kind: &str) -> Family<'_> {
        // Writing to a string does not fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Family { page: &mut self.0, name }
    }

    pub(super) fn end(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// The one sample of a metric without labels.
    pub(super) fn value(mut self, value: impl Display) {
        self.sample(&[], value);
    }

    /// A sample.
    pub(super) fn sample(&mut self, labels: &[Label<'_>], value: impl Display) {
        let Self { page, name } = self;
        page.push_str(name);
        let mut open = '{';
        for (label, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
            page.push(open);
            page.push_str(label);
            page.push_str("=\"");
            escape(page, value);
            page.push('"');
            open = ',';
        }
        if open == ',' {
            page.push('}');
        }
        let _ = writeln!(page, " {value}");
    }
}

/// The longest value of a label in bytes: names of streams are their publishers' choice.
const LONGEST: usize = 256;

fn escape(page: &mut String, value: &str) {
    let cut = value.floor_char_boundary(LONGEST);
    for char in value[..cut].chars() {
        match char {
            '\\' => page.push_str("\\\\"),
            '"' => page.push_str("\\\""),
            '\n' => page.push_str("\\n"),
            char => page.push(char),
        }
    }
    if cut < value.len() {
        page.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_forges_samples() {
        let mut page = Page::default();
        let mut family = page.gauge("a", "Help.");
        family.sample(&[("stream", "x\"} 1\nb{c=\"\\"), ("app", ""), ("vhost", "v")], 1.5);
        family.sample(&[], 2);
        let want =
            "# HELP a Help.\n# TYPE a gauge\na{stream=\"x\\\"} 1\\nb{c=\\\"\\\\\",vhost=\"v\"} 1.5\na 2\n";
        assert_eq!(page.end(), want);
    }

    #[test]
    fn long_names_are_cut() {
        let mut page = Page::default();
        page.gauge("a", "Help.").sample(&[("stream", &"ä".repeat(1000))], 1);
        let page = page.end();
        assert!(page.ends_with("ä…\"} 1\n") && page.len() < 350, "{}", page.len());
    }
}
