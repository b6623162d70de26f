//! `vhost.storage`. Problems are shown without what is secret.

use std::sync::Arc;
use std::time::Duration;

use super::{Block, Reader};
use crate::config::{Provider, Secret, Storage, StorageUrl, value};

const OUTPUTS: [&str; 4] = ["hls", "dash", "hds", "dvr"];
const DAY: f64 = 24.0 * 3600.0;

impl<'a> Reader<'a> {
    pub(super) fn storage(&mut self, block: Block<'a>, vhost: &str) -> Option<Arc<Storage>> {
        if !self.switch(block, "enabled") {
            return None;
        }
        let url = self.storage_url(block, vhost);
        let endpoint = Some(self.text(block, "endpoint")).filter(|text| !text.is_empty());
        if let Some(text) = &endpoint
            && !text.starts_with("http://")
            && !text.starts_with("https://")
        {
            let problem = self.value(block, "endpoint").problem(self.files, 0, "no address to call");
            self.problems.push(problem.help("write it like https://minio.example.com:9000"));
        }
        let text = |reader: &mut Self, name| Some(reader.text(block, name)).filter(|text| !text.is_empty());
        let (access_key, secret_key) = (text(self, "access_key"), text(self, "secret_key"));
        let days = self.value(block, "retention_days");
        let days = self.float(&days);
        Some(Arc::new(Storage {
            url,
            endpoint,
            region: text(self, "region"),
            access_key: access_key.map(Secret),
            secret_key: secret_key.map(Secret),
            credentials: text(self, "credentials").map(Into::into),
            outputs: self.outputs(block),
            moves: self.one_of(block, "mode", &["copy", "move"], 0) == 1,
            spool: self.path(block, "spool"),
            spool_max: self.spool_max(block),
            keep_for: (days > 0.0).then(|| Duration::from_secs_f64((days * DAY).min(1e10))),
            keep_newest: self.count(block, "retention_count"),
        }))
    }

    fn storage_url(&mut self, block: Block<'a>, vhost: &str) -> Option<StorageUrl> {
        let value = self.value(block, "url");
        if value.text().is_empty() {
            return None;
        }
        let url = StorageUrl::parse(value.text(), vhost);
        if url.is_none() {
            let problem = value.problem(self.files, 0, "this is no place of objects");
            self.problems
                .push(problem.help("write s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"));
        }
        if url.as_ref().is_some_and(|url| url.provider == Provider::Google)
            && self.is_set(block, "access_key")
        {
            let message = "Google takes no `access_key` here: `credentials` counts";
            self.warn(self.value(block, "access_key").problem(self.files, 0, message));
        }
        url
    }

    fn outputs(&mut self, block: Block<'a>) -> Vec<String> {
        let value = self.value(block, "outputs");
        for (index, word) in value.words.iter().enumerate() {
            if !OUTPUTS.contains(word) {
                let message = format!("`{word}` is no output that could be stored");
                let problem = value.problem(self.files, index, message);
                self.problems.push(problem.help("write some of `hls`, `dash`, `hds`, `dvr`"));
            }
        }
        value.words.into_iter().map(str::to_owned).collect()
    }

    fn spool_max(&mut self, block: Block<'a>) -> u64 {
        let value = self.value(block, "spool_max");
        value::size(value.text()).unwrap_or_else(|| {
            let problem = value.problem(self.files, 0, format!("`{}` is no size", value.text()));
            self.problems.push(problem.help("write bytes, or a number with `k`, `m` or `g` behind it"));
            0
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Environment, Provider};

    fn read(block: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let text = format!("listen 1935; vhost a.com {{ storage {{ {block} }} }}");
        let env = Environment::from_iter(variables.iter().copied());
        Config::parse("test", text.as_bytes(), &env).map_err(|e| e.to_string())
    }

    #[test]
    fn places() {
        for (text, provider, bucket, prefix) in [
            ("s3://b", Provider::S3, "b", ""),
            ("gs://b.c/x/y/", Provider::Google, "b.c", "x/y"),
            ("az://b-1/[vhost]", Provider::Azure, "b-1", "a.com"),
        ] {
            let config = read(&format!("enabled on; url {text};"), &[]).unwrap();
            let url = config.vhosts[0].storage.as_ref().unwrap().url.clone().unwrap();
            assert_eq!((url.provider, &*url.bucket, &*url.prefix), (provider, bucket, prefix));
        }
        for text in ["ftp://b/x", "s3://", "s3:///x", "s3://b/../x", "s3://b/x//y", "bucket"] {
            let error = read(&format!("enabled on; url {text};"), &[]).err().unwrap_or_default();
            assert!(error.contains("no place of objects"), "{text}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (text, reason) in [
            ("outputs hls tapes;", "`tapes` is no output"),
            ("spool_max much;", "no size"),
            ("endpoint minio:9000;", "no address to call"),
        ] {
            let error = read(&format!("enabled on; {text}"), &[]).err().unwrap_or_default();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert_eq!(read("url nowhere;", &[]).unwrap().vhosts[0].storage, None, "it is off");
    }

    #[test]
    fn secrets_come_from_the_environment_and_are_shown_by_nobody() {
        let variables =
            [("SRS_VHOST_STORAGE_SECRET_KEY", "geheim"), ("SRS_VHOST_STORAGE_ACCESS_KEY", "konto")];
        let config = read("enabled on; url s3://b; retention_days 0.5;", &variables).unwrap();
        let storage = config.vhosts[0].storage.as_ref().unwrap();
        assert_eq!(storage.secret_key.as_ref().unwrap().0, "geheim");
        assert_eq!(storage.keep_for.unwrap().as_secs(), 12 * 3600);
        let shown = format!("{:?}", config.vhosts);
        assert!(!shown.contains("geheim") && !shown.contains("konto"), "{shown}");
        let turned = read("enabled on; url s3://b; access_key one; secret_key two;", &[]).unwrap();
        let changes: Vec<_> =
            config.written.changes(&turned.written).iter().map(ToString::to_string).collect();
        assert!(!changes.join("\n").contains("two") && !changes.join("\n").contains("one;"), "{changes:?}");
    }
}
