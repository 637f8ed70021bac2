//! `test.toml`: what a test's files cannot say by their names. All of it is optional.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use engine::sql::statement::SetOption;
use serde::Deserialize;

use crate::job;

/// The name of the file.
pub const FILE_NAME: &str = "test.toml";

/// What `test.toml` says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manifest {
    /// The job under test, relative to the folder; `query.sql` in it by default.
    pub job: Option<PathBuf>,
    /// The numbers of shards that it is run on, one after the other.
    pub shards: Option<Vec<usize>>,
    /// How many rows come too late, where the test says so.
    pub late_rows: Option<u64>,
    /// Input files by table, relative to the folder, beside those that their names tell.
    #[serde(default)]
    pub inputs: BTreeMap<String, PathBuf>,
    /// Settings, as `SET 'key' = 'value'` at the end of the job would give them.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
}

impl Manifest {
    /// The manifest of `folder`; an empty one where there is none.
    ///
    /// # Errors
    /// It cannot be read, or says what is not known: with file, line and reason.
    pub fn read(folder: &Path) -> Result<Manifest, String> {
        let path = folder.join(FILE_NAME);
        if !path.exists() {
            return Ok(Manifest::default());
        }
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let manifest: Manifest =
            toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        if manifest
            .shards
            .as_ref()
            .is_some_and(|counts| counts.is_empty() || counts.contains(&0))
        {
            return Err(format!(
                "{}: `shards` lists how many shards to run on, for example shards = [1, 3]",
                path.display()
            ));
        }
        Ok(manifest)
    }

    /// The settings as the compiler takes them.
    ///
    /// # Errors
    /// A key is empty.
    pub fn settings(&self) -> Result<Vec<SetOption>, String> {
        let option = |(key, value): (&String, &String)| job::parse_override(&format!("{key}={value}"));
        self.set.iter().map(option).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = toml::from_str::<Manifest>("shard = [1]").expect_err("unknown");
        assert!(error.to_string().contains("unknown field `shard`"), "{error}");
    }

    #[test]
    fn all_keys_are_read() {
        let text = "job = '../job.sql'\nshards = [1, 2]\nlate-rows = 3\n[inputs]\nt = '../t.csv'\n[set]\n'a.b' = 'c'";
        let manifest: Manifest = toml::from_str(text).expect("valid");
        assert_eq!(manifest.job, Some(PathBuf::from("../job.sql")));
        assert_eq!((manifest.shards, manifest.late_rows), (Some(vec![1, 2]), Some(3)));
        assert_eq!(manifest.inputs["t"], PathBuf::from("../t.csv"));
        assert_eq!(manifest.set["a.b"], "c");
    }
}
