//! What an object store refuses, in the user's words: what is wrong, and what to do.

use std::error::Error;

use object_store::Error as StoreError;

use super::location::{ObjectLocation, Service};

/// The error as the user reads it. Stores' own texts name requests and addresses, never credentials.
pub fn say(error: &StoreError, location: &ObjectLocation) -> String {
    let text = chain(error);
    let bucket = &location.bucket;
    let variables = variables(location.service);
    match error {
        _ if is_missing_bucket(&text) => {
            format!(
                "there is no bucket '{bucket}' ({}); create it, or mend the URL",
                short(&text)
            )
        }
        _ if asks_the_machine(&text) => format!(
            "there are no credentials: {variables} are not set, and this machine has no role of its own ({})",
            short(&text)
        ),
        StoreError::Unauthenticated { .. } | StoreError::PermissionDenied { .. } => format!(
            "the store refuses access to '{bucket}': check {variables} and what they may do there ({})",
            short(&text)
        ),
        StoreError::NotImplemented { .. } | StoreError::NotSupported { .. } => format!(
            "the store cannot write under a condition (If-None-Match, If-Match), which checkpoints need ({})",
            short(&text)
        ),
        _ if is_network(&text) => format!(
            "the store does not answer, also when asked again: check the network and {} ({})",
            endpoint(location.service),
            short(&text)
        ),
        _ => short(&text),
    }
}

/// Whether only the object is missing, and not its bucket.
pub fn is_missing_object(error: &StoreError) -> bool {
    matches!(error, StoreError::NotFound { .. }) && !is_missing_bucket(&chain(error))
}

fn is_missing_bucket(text: &str) -> bool {
    [
        "NoSuchBucket",
        "ContainerNotFound",
        "The specified bucket does not exist",
    ]
    .iter()
    .any(|name| text.contains(name))
}

/// The services of a cloud's own machines that hand out credentials; asked where the environment has none.
fn asks_the_machine(text: &str) -> bool {
    ["/latest/api/token", "/computeMetadata/", "/metadata/identity/"]
        .iter()
        .any(|path| text.contains(path))
}

fn is_network(text: &str) -> bool {
    ["error sending request", "timed out", "connection"]
        .iter()
        .any(|words| text.contains(words))
}

fn variables(service: Service) -> &'static str {
    match service {
        Service::S3 => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        Service::Gcs => "GOOGLE_APPLICATION_CREDENTIALS",
        Service::Azure => "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
        Service::Memory => "no variables",
    }
}

fn endpoint(service: Service) -> &'static str {
    match service {
        Service::S3 => "AWS_ENDPOINT_URL and AWS_REGION",
        Service::Gcs => "GOOGLE_BASE_URL",
        Service::Azure => "AZURE_STORAGE_ENDPOINT",
        Service::Memory => "nothing",
    }
}

/// An error and its causes, each that says something new.
fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

/// One line, without the body of an answer.
fn short(text: &str) -> String {
    const CHARACTERS_MAX: usize = 240;
    let line = text.split_whitespace().collect::<Vec<&str>>().join(" ");
    let end = line.find("<?xml").unwrap_or(line.len());
    line[..end]
        .trim_end_matches([' ', ':'])
        .chars()
        .take(CHARACTERS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::location::Location;
    use super::*;

    fn check(url: &str, error: StoreError, expected: &[&str]) {
        let Ok(Location::Objects(location)) = Location::parse(Path::new(url)) else {
            panic!("{url}");
        };
        let said = say(&error, &location);
        for text in expected {
            assert!(said.contains(text), "{text}: {said}");
        }
        assert!(!said.contains("<?xml"), "{said}");
    }

    fn not_found(body: &str) -> StoreError {
        StoreError::NotFound {
            path: "a/lock".into(),
            source: format!("404 Not Found: {body}").into(),
        }
    }

    #[test]
    fn what_a_store_refuses_is_told_with_what_to_do() {
        let body = "<?xml version=\"1.0\"?><Error><Code>NoSuchBucket</Code></Error>";
        check(
            "s3://b/a",
            not_found(body),
            &["there is no bucket 'b'", "create it"],
        );
        let denied = || StoreError::PermissionDenied {
            path: "a/lock".into(),
            source: "403".into(),
        };
        check(
            "s3://b/a",
            denied(),
            &["refuses access to 'b'", "AWS_ACCESS_KEY_ID"],
        );
        check("gs://b/a", denied(), &["GOOGLE_APPLICATION_CREDENTIALS"]);
        check("az://b/a", denied(), &["AZURE_STORAGE_ACCOUNT_KEY"]);
        let generic = |text: &str| StoreError::Generic {
            store: "S3",
            source: text.into(),
        };
        let asked = "PUT http://169.254.169.254/latest/api/token: error sending request";
        check("s3://b/a", generic(asked), &["there are no credentials"]);
        let silent = "GET http://host/b: operation timed out";
        check(
            "s3://b/a",
            generic(silent),
            &["does not answer", "AWS_ENDPOINT_URL"],
        );
    }

    #[test]
    fn an_object_may_be_missing_and_a_bucket_may_not() {
        assert!(is_missing_object(&not_found("<Code>NoSuchKey</Code>")));
        assert!(!is_missing_object(&not_found("<Code>NoSuchBucket</Code>")));
    }
}
