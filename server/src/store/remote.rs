//! One bucket: files are put there and deleted there. Retries are not its business, beyond one at once.

use std::io;
use std::path::Path;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path as Key;
use object_store::{
    Attribute, Attributes, BackoffConfig, ClientOptions, Error, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, RetryConfig,
};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::job::Job;
use crate::config::{Provider, Storage, StorageUrl};

/// See the module.
pub(super) struct Remote {
    store: Box<dyn ObjectStore>,
    prefix: String,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The file cannot be read.
    #[error("{0}")]
    Local(io::Error),
    /// The storage will never take it.
    #[error("{0}")]
    Impossible(String),
    /// It may work later.
    #[error("{0}")]
    Unavailable(String),
}

/// Files beyond this are uploaded in parts of this; S3 wants 5 MiB at least, and 10,000 parts at most.
const PART: usize = 8 << 20;

/// A storage that is there takes a connection within this time.
const CONNECT: Duration = Duration::from_secs(5);
/// A request, of one part, takes at most this.
const REQUEST: Duration = Duration::from_secs(60);

/// The account of the emulator that everybody knows.
const EMULATOR: &str = "devstoreaccount1";

impl Remote {
    /// What the configuration says, and for what it does not say the vendor's usual variables of the environment.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub(super) fn new(url: &StorageUrl, settings: &Storage) -> Result<Self, String> {
        let plain = settings.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        let client =
            ClientOptions::new().with_connect_timeout(CONNECT).with_timeout(REQUEST).with_allow_http(plain);
        let retry = RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: 1,
            retry_timeout: Duration::from_secs(10),
        };
        let store: Result<Box<dyn ObjectStore>, Error> = match url.provider {
            Provider::S3 => {
                let mut builder = AmazonS3Builder::from_env().with_bucket_name(&url.bucket).with_retry(retry);
                if let Some(endpoint) = &settings.endpoint {
                    builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
                }
                if let Some(region) = &settings.region {
                    builder = builder.with_region(region);
                }
                if let Some(key) = &settings.access_key {
                    builder = builder.with_access_key_id(&key.0);
                }
                if let Some(key) = &settings.secret_key {
                    builder = builder.with_secret_access_key(&key.0);
                }
                builder.with_client_options(client).build().map(|store| Box::new(store) as _)
            }
            Provider::Google => {
                let mut builder =
                    GoogleCloudStorageBuilder::from_env().with_bucket_name(&url.bucket).with_retry(retry);
                if let Some(endpoint) = &settings.endpoint {
                    builder = builder.with_base_url(endpoint.trim_end_matches('/'));
                }
                match &settings.credentials {
                    Some(path) => builder = builder.with_service_account_path(path.to_string_lossy()),
                    // Nobody's own storage asks for Google's signatures.
                    None if settings.endpoint.is_some() => builder = builder.with_skip_signature(true),
                    None => {}
                }
                builder.with_client_options(client).build().map(|store| Box::new(store) as _)
            }
            Provider::Azure => {
                let mut builder =
                    MicrosoftAzureBuilder::from_env().with_container_name(&url.bucket).with_retry(retry);
                if let Some(account) = &settings.access_key {
                    let emulator = account.0 == EMULATOR && settings.endpoint.is_none();
                    builder = builder.with_account(&account.0).with_use_emulator(emulator);
                }
                if let Some(key) = &settings.secret_key {
                    builder = builder.with_access_key(&key.0);
                }
                if let Some(endpoint) = &settings.endpoint {
                    builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
                }
                builder.with_client_options(client).build().map(|store| Box::new(store) as _)
            }
        };
        Ok(Self { store: store.map_err(|e| shown(&e))?, prefix: url.prefix.clone() })
    }

    /// Uploads the file at `path`. Says how many bytes it has.
    pub(super) async fn put(&self, job: &Job, path: &Path) -> Result<u64, Failure> {
        let key = self.key(&job.name)?;
        let attributes = Attributes::from_iter([
            (Attribute::ContentType, job.content_type()),
            (Attribute::CacheControl, job.cache_control()),
        ]);
        let mut file = File::open(path).await.map_err(Failure::Local)?;
        let first = part(&mut file).await.map_err(Failure::Local)?;
        if first.len() < PART {
            let size = first.len() as u64;
            let options = PutOptions { attributes, ..Default::default() };
            self.store.put_opts(&key, first.into(), options).await.map_err(|e| failure(&e))?;
            return Ok(size);
        }
        let options = PutMultipartOptions { attributes, ..Default::default() };
        let mut upload = self.store.put_multipart_opts(&key, options).await.map_err(|e| failure(&e))?;
        let parts = async {
            let (mut size, mut next) = (0, first);
            while !next.is_empty() {
                size += next.len() as u64;
                upload.put_part(next.into()).await.map_err(|e| failure(&e))?;
                next = part(&mut file).await.map_err(Failure::Local)?;
            }
            upload.complete().await.map_err(|e| failure(&e))?;
            Ok(size)
        };
        let done = parts.await;
        if done.is_err() {
            // What lies there is paid for.
            let _ = upload.abort().await;
        }
        done
    }

    /// Deletes an object; that it is gone already is fine.
    pub(super) async fn delete(&self, name: &str) -> Result<(), Failure> {
        match self.store.delete(&self.key(name)?).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(failure(&e)),
        }
    }

    /// The name as it is: players ask for it by the playlist.
    fn key(&self, name: &str) -> Result<Key, Failure> {
        let prefix = &self.prefix;
        let whole = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        Key::parse(&whole).map_err(|e| Failure::Impossible(e.to_string()))
    }
}

/// The next bytes of a file, fewer than a part only at its end.
async fn part(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(PART as u64).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

fn failure(e: &Error) -> Failure {
    match e {
        Error::InvalidPath { .. } | Error::NotSupported { .. } | Error::NotImplemented { .. } => {
            Failure::Impossible(shown(e))
        }
        // A bucket may be made, a password may be set right.
        _ => Failure::Unavailable(shown(e)),
    }
}

/// The reason in one line, with what lies behind it.
fn shown(e: &Error) -> String {
    const MOST: usize = 300;
    let mut text = e.to_string();
    let mut inner = std::error::Error::source(e);
    while let Some(source) = inner {
        let more = source.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        inner = source.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MOST).collect()
}
