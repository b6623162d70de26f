//! `vhost.dvr`.

use std::time::Duration;

use super::{Block, Reader};
use crate::config::{Dvr, DvrPlan};

/// Files shorter than this would be more name than recording.
const LEAST: Duration = Duration::from_secs(1);

impl<'a> Reader<'a> {
    pub(super) fn dvr(&mut self, block: Block<'a>, utc: bool) -> Option<Dvr> {
        if !self.switch(block, "enabled") {
            return None;
        }
        let apply: Vec<_> = self.value(block, "dvr_apply").words.into_iter().map(str::to_owned).collect();
        let path = self.text(block, "dvr_path");
        let is_file = path.ends_with(".flv") || path.ends_with(".mp4");
        let path = match is_file {
            true => path,
            false => format!("{}/[stream].[timestamp].flv", path.trim_end_matches('/')),
        };
        Some(Dvr {
            apply: (!apply.iter().any(|name| name == "all")).then_some(apply),
            plan: self.dvr_plan(block),
            mp4: path.ends_with(".mp4"),
            path,
            wait_keyframe: self.switch(block, "dvr_wait_keyframe"),
            jitter: self.jitter(block),
            utc,
            playback: self.switch(block, "playback"),
        })
    }

    fn dvr_plan(&mut self, block: Block<'a>) -> DvrPlan {
        let plan = self.value(block, "dvr_plan");
        match plan.text() {
            "session" => DvrPlan::Session,
            "segment" => {
                let duration = self.duration(block, "dvr_duration");
                if duration < LEAST {
                    let message = format!("`dvr_duration` must be at least {LEAST:?}");
                    self.problems.push(self.value(block, "dvr_duration").problem(self.files, 0, message));
                }
                DvrPlan::Segment(duration)
            }
            other => {
                let problem = plan.problem(self.files, 0, format!("`{other}` is no plan to record by"));
                self.problems.push(problem.help("write `session` or `segment`"));
                DvrPlan::Session
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment, Jitter};

    fn read(text: &str) -> Result<Option<Dvr>, String> {
        let text = format!("listen 1935; vhost v {{ dvr {{ {text} }} }}");
        let config = Config::parse("test", text.as_bytes(), &Environment::default());
        config.map(|config| config.vhosts[0].dvr.clone()).map_err(|e| e.to_string())
    }

    #[test]
    fn defaults_are_srs_s() {
        assert_eq!(read("").unwrap(), None);
        let dvr = read("enabled on;").unwrap().unwrap();
        let want = Dvr {
            apply: None,
            plan: DvrPlan::Session,
            path: "./objs/nginx/html/[app]/[stream].[timestamp].flv".into(),
            mp4: false,
            wait_keyframe: true,
            jitter: Jitter::Full,
            utc: false,
            playback: false,
        };
        assert_eq!(dvr, want);
        assert_eq!(dvr.folder(), std::path::Path::new("./objs/nginx/html"));
    }

    #[test]
    fn plans_paths_and_names() {
        let dvr = |text: &str| read(&format!("enabled on; {text}")).map(Option::unwrap);
        let plan = |text: &str| dvr(text).map(|dvr| dvr.plan);
        assert_eq!(plan("dvr_plan segment;"), Ok(DvrPlan::Segment(Duration::from_secs(30))));
        assert_eq!(plan("dvr_plan segment; dvr_duration 60;"), Ok(DvrPlan::Segment(Duration::from_secs(60))));
        assert!(plan("dvr_plan append;").is_err_and(|e| e.contains("no plan")));
        assert!(plan("dvr_plan segment; dvr_duration 0;").is_err());
        let path =
            |text: &str| dvr(&format!("dvr_path {text};")).map(|dvr| (dvr.path.clone(), dvr.mp4)).unwrap();
        assert_eq!(path("/a/[stream].mp4"), ("/a/[stream].mp4".into(), true));
        assert_eq!(path("/a/[app]/"), ("/a/[app]/[stream].[timestamp].flv".into(), false));
        assert_eq!(dvr("dvr_path /[stream].flv;").unwrap().folder(), std::path::Path::new("/"));
        assert_eq!(dvr("dvr_path [stream].flv;").unwrap().folder(), std::path::Path::new("."));
        let some = dvr("dvr_apply live/a live/b/c;").unwrap();
        assert!(some.applies("live", "a") && some.applies("live/b", "c") && some.applies("live", "b/c"));
        assert!(!some.applies("live", "b") && !some.applies("other", "a"));
        assert!(dvr("").unwrap().applies("any", "thing"));
    }
}
