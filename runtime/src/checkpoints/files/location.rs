//! What `--checkpoint-dir` may say: a path, or the URL of an object store.
//!
//! Credentials and endpoints come from the environment alone, as the stores' own tools read them. A URL that holds
//! a secret is refused, and not repeated.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};

use super::refusals;

/// A request that fails for want of a network or an answer is made again for so long.
const RETRY_FOR: Duration = Duration::from_secs(40);
/// Time decides, not how often.
const RETRIES: usize = 1_000;

/// Where checkpoints lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A local directory.
    Directory(PathBuf),
    /// An object store.
    Objects(ObjectLocation),
}

/// A place in an object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectLocation {
    /// Whose store it is.
    pub service: Service,
    /// The bucket or container, as the URL names it.
    pub bucket: String,
    /// What all names begin with.
    pub prefix: ObjectPath,
    /// The URL, as the user wrote it.
    pub url: String,
}

/// Whose object store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// S3 and what is compatible with it.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
    /// The memory of this process.
    Memory,
}

impl Location {
    /// What `text` means: a URL if it has a scheme, else a path.
    ///
    /// # Errors
    /// The URL is not one of a store that is known, or names no bucket, or holds a secret.
    pub fn parse(text: &Path) -> Result<Location, String> {
        let url = text.to_str().and_then(|text| text.split_once("://"));
        let Some((scheme, rest)) = url else {
            return Ok(Location::Directory(text.to_path_buf()));
        };
        if rest.contains('?') || rest.contains('#') {
            return Err(secret("a URL with a query"));
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let service = match scheme {
            "file" => return local(bucket, prefix),
            "s3" | "s3a" => Service::S3,
            "gs" => Service::Gcs,
            "az" | "abfs" | "abfss" => Service::Azure,
            "memory" => Service::Memory,
            other => {
                return Err(format!(
                    "there is no object store '{other}://'; write s3://, gs://, az:// or the path of a directory"
                ));
            }
        };
        // Azure names an account behind an @: container@account.
        if bucket.contains('@') && (service != Service::Azure || bucket.contains(':')) {
            return Err(secret("a URL with a user"));
        }
        if bucket.is_empty() {
            return Err(format!("the URL names no bucket; write {scheme}://BUCKET/PATH"));
        }
        let prefix = ObjectPath::parse(prefix.trim_end_matches('/')).map_err(|error| error.to_string())?;
        Ok(Location::Objects(ObjectLocation {
            service,
            bucket: bucket.to_owned(),
            prefix,
            url: format!("{scheme}://{}", rest.trim_end_matches('/')),
        }))
    }
}

fn local(host: &str, path: &str) -> Result<Location, String> {
    if !matches!(host, "" | "localhost") || path.contains('%') {
        return Err("write the path of a directory, or file:///PATH without a host and without %".to_owned());
    }
    Ok(Location::Directory(Path::new("/").join(path)))
}

fn secret(what: &str) -> String {
    format!(
        "{what} is refused, lest a secret be shown somewhere: give credentials in the environment (docs/checkpoints.md)"
    )
}

impl ObjectLocation {
    /// The store, with what the environment says.
    ///
    /// # Errors
    /// The environment says something that cannot be, or lacks what is needed.
    pub fn connect(&self) -> Result<Arc<dyn ObjectStore>, String> {
        let store: object_store::Result<Arc<dyn ObjectStore>> = match self.service {
            Service::S3 => AmazonS3Builder::from_env()
                .with_url(format!("s3://{}", self.bucket))
                .with_retry(retries())
                .build()
                .map(|store| Arc::new(store) as _),
            Service::Gcs => GoogleCloudStorageBuilder::from_env()
                .with_url(format!("gs://{}", self.bucket))
                .with_retry(retries())
                .build()
                .map(|store| Arc::new(store) as _),
            Service::Azure => MicrosoftAzureBuilder::from_env()
                .with_url(format!("az://{}", self.bucket))
                .with_retry(retries())
                .build()
                .map(|store| Arc::new(store) as _),
            Service::Memory => Ok(in_memory(&self.bucket)),
        };
        store.map_err(|error| refusals::say(&error, self))
    }
}

fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(4),
            base: 2.0,
        },
        max_retries: RETRIES,
        retry_timeout: RETRY_FOR,
    }
}

/// The buckets in the memory of this process, for tests: a job that is started again finds what was written.
fn in_memory(bucket: &str) -> Arc<InMemory> {
    static BUCKETS: Mutex<BTreeMap<String, Arc<InMemory>>> = Mutex::new(BTreeMap::new());
    let mut buckets = BUCKETS.lock().unwrap_or_else(PoisonError::into_inner);
    buckets.entry(bucket.to_owned()).or_default().clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Location, String> {
        Location::parse(Path::new(text))
    }

    fn check_objects(text: &str, service: Service, bucket: &str, prefix: &str) {
        match parse(text) {
            Ok(Location::Objects(found)) => {
                assert_eq!(
                    (found.service, found.bucket.as_str(), found.prefix.as_ref()),
                    (service, bucket, prefix),
                    "{text}"
                );
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_place_is_a_path_or_the_url_of_a_store() {
        for (text, path) in [
            ("state", "state"),
            ("/a/b", "/a/b"),
            ("file:///a/b", "/a/b"),
            ("file://localhost/a", "/a"),
        ] {
            assert_eq!(parse(text), Ok(Location::Directory(path.into())), "{text}");
        }
        check_objects("s3://bucket/jobs/volume/", Service::S3, "bucket", "jobs/volume");
        check_objects("s3a://bucket", Service::S3, "bucket", "");
        check_objects("gs://bucket/a", Service::Gcs, "bucket", "a");
        check_objects("az://container/a", Service::Azure, "container", "a");
        check_objects(
            "abfss://box@name.dfs.core.windows.net/a",
            Service::Azure,
            "box@name.dfs.core.windows.net",
            "a",
        );
        check_objects("memory://here/a", Service::Memory, "here", "a");
    }

    #[test]
    fn a_url_that_means_nothing_is_refused_with_what_to_write() {
        for (text, said) in [
            ("ftp://host/a", "there is no object store 'ftp://'"),
            ("s3:///a", "write s3://BUCKET/PATH"),
            ("file://elsewhere/a", "file:///PATH"),
            ("s3://bucket/a//b", "empty path segment"),
        ] {
            let refused = parse(text).unwrap_err();
            assert!(refused.contains(said), "{text}: {refused}");
        }
    }

    #[test]
    fn a_url_with_a_secret_is_refused_and_not_repeated() {
        for text in [
            "s3://key:hunter2@bucket/a",
            "az://box/a?sig=hunter2",
            "abfss://box:hunter2@name/a",
        ] {
            let refused = parse(text).unwrap_err();
            assert!(
                refused.contains("environment") && !refused.contains("hunter2"),
                "{refused}"
            );
        }
    }
}
