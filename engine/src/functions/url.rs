//! `PARSE_URL(url, part [, key])`: a part of a URL, as Flink (and Hive) name them.
//!
//! **Invariant.** What is not a URL, or lacks the part, is NULL.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringBuilder};
use arrow::datatypes::DataType;
use datafusion_common::{Result, plan_err};
use datafusion_expr::{ScalarFunctionArgs, ScalarUDF};

use crate::functions::native::{NativeFunction, TextArgument};

/// The functions of this family.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![NativeFunction::coercing("parse_url", texts, |_| Ok(DataType::Utf8), parse_url).shared()]
}

fn texts(types: &[DataType]) -> Result<Vec<DataType>> {
    match types.len() {
        2 | 3 => Ok(vec![DataType::Utf8; types.len()]),
        _ => plan_err!("PARSE_URL needs a URL, a part such as 'HOST' and, for 'QUERY', if at all a key"),
    }
}

fn parse_url(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let urls = TextArgument::of(args, 0)?;
    let parts = TextArgument::of(args, 1)?;
    let keys = match args.args.len() {
        3 => Some(TextArgument::of(args, 2)?),
        _ => None,
    };
    let mut found = StringBuilder::with_capacity(args.number_rows, args.number_rows * 16);
    for row in 0..args.number_rows {
        let part = urls.get(row).zip(parts.get(row)).and_then(|(url, part)| {
            let found = Url::read(url)?.part(part)?;
            match &keys {
                None => Some(found),
                Some(keys) if part == "QUERY" => parameter(found, keys.get(row)?),
                Some(_) => None,
            }
        });
        found.append_option(part);
    }
    Ok(Arc::new(found.finish()))
}

/// The value of `key` in `a=1&b=2`.
fn parameter<'q>(query: &'q str, key: &str) -> Option<&'q str> {
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
}

/// `protocol://authority/path?query#reference`, cut.
struct Url<'u> {
    protocol: &'u str,
    authority: &'u str,
    path: &'u str,
    query: Option<&'u str>,
    reference: Option<&'u str>,
}

impl<'u> Url<'u> {
    fn read(url: &'u str) -> Option<Url<'u>> {
        let (protocol, rest) = url.split_once("://")?;
        let (rest, reference) = match rest.split_once('#') {
            Some((rest, reference)) => (rest, Some(reference)),
            None => (rest, None),
        };
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        Some(Url {
            protocol,
            authority,
            path,
            query,
            reference,
        })
    }

    fn part(&self, name: &str) -> Option<&'u str> {
        let user_and_host = self.authority.rsplit_once('@');
        match name {
            "PROTOCOL" => Some(self.protocol),
            "AUTHORITY" => Some(self.authority),
            "USERINFO" => user_and_host.map(|(user, _)| user),
            "HOST" => {
                let host = user_and_host.map_or(self.authority, |(_, host)| host);
                Some(host.rsplit_once(':').map_or(host, |(host, _)| host))
            }
            "PATH" => Some(self.path),
            "QUERY" => self.query,
            "REF" => self.reference,
            _ => None,
        }
    }
}
