//! `vhost.storage`, as it is used.

use std::path::PathBuf;
use std::time::Duration;

use super::Secret;

/// Object storage of a vhost.
#[derive(Clone, Debug, PartialEq)]
pub struct Storage {
    /// Where to; nothing is uploaded without one.
    pub url: Option<StorageUrl>,
    /// Address of a storage that is not the vendor's own.
    pub endpoint: Option<String>,
    /// Region of S3.
    pub region: Option<String>,
    /// Access key or account.
    pub access_key: Option<Secret>,
    /// Its secret.
    pub secret_key: Option<Secret>,
    /// Service account of Google, a file.
    pub credentials: Option<PathBuf>,
    /// Names of outputs: `hls`, `dash`, `hds`, `dvr`.
    pub outputs: Vec<String>,
    /// Local files are deleted when they are uploaded.
    pub moves: bool,
    /// Folder of what waits.
    pub spool: PathBuf,
    /// The most that segments and playlists take there, in bytes.
    pub spool_max: u64,
    /// What is kept is deleted after this.
    pub keep_for: Option<Duration>,
    /// Only so many are kept of each stream and output.
    pub keep_newest: Option<u32>,
}

/// Where objects are put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageUrl {
    /// Whose protocol is spoken.
    pub provider: Provider,
    /// Bucket or container.
    pub bucket: String,
    /// Put before the names of objects, without slashes around it; `[vhost]` is replaced already.
    pub prefix: String,
}

/// Whose protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Amazon's, and that of many others.
    S3,
    /// Google's.
    Google,
    /// Microsoft's.
    Azure,
}

impl StorageUrl {
    /// Reads `s3://bucket/prefix`; `None` if it is something else.
    pub fn parse(text: &str, vhost: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let provider = match scheme {
            "s3" | "s3a" => Provider::S3,
            "gs" => Provider::Google,
            "az" | "azure" | "abfs" => Provider::Azure,
            _ => return None,
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let prefix = prefix.trim_matches('/').replace("[vhost]", vhost);
        let fits =
            |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(char::is_control);
        let is_fit = !bucket.is_empty()
            && bucket.chars().all(is_plain)
            && (prefix.is_empty() || prefix.split('/').all(fits));
        is_fit.then(|| Self { provider, bucket: bucket.to_owned(), prefix })
    }
}
