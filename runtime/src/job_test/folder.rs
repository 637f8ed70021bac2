//! The files of a test, known by their names:
//!
//! ```text
//! query.sql                the job, unless test.toml names another file
//! test.toml                what names cannot say
//! input.<table>.ndjson     the rows of a table (or .csv)
//! input.ndjson             the rows of several tables in the order given, each with its "$table"
//! expected.ndjson          what a bare SELECT gives (or .csv)
//! expected.<table>.ndjson  what is written to a table (or .csv)
//! ```
//!
//! **Invariant.** A file that takes part has one of these names; two files never say the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::manifest::{self, Manifest};
use crate::job::JobText;

const QUERY: &str = "query.sql";

/// A test: its folder and what it holds.
#[derive(Debug)]
pub struct TestFolder {
    /// Where it is.
    pub path: PathBuf,
    /// What `test.toml` says.
    pub manifest: Manifest,
    /// The job under test.
    pub job: JobText,
    /// The rows of tables, by table.
    pub inputs: BTreeMap<String, PathBuf>,
    /// `input.ndjson`: rows of several tables in one order.
    pub interleaved: Option<PathBuf>,
    /// What is expected, by table; the empty name stands for a bare SELECT.
    pub expected: BTreeMap<String, PathBuf>,
}

/// The folders at and below `root` that are tests, in order of their paths.
///
/// # Errors
/// A folder cannot be read.
pub fn find(root: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let mut waiting = vec![root.to_path_buf()];
    while let Some(folder) = waiting.pop() {
        if folder.join(QUERY).is_file() || folder.join(manifest::FILE_NAME).is_file() {
            found.push(folder.clone());
        }
        let cannot = |error| format!("cannot read {}: {error}", folder.display());
        for entry in std::fs::read_dir(&folder).map_err(cannot)? {
            let path = entry.map_err(cannot)?.path();
            if path.is_dir() {
                waiting.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

impl TestFolder {
    /// Looks at the folder's files.
    ///
    /// # Errors
    /// A file is missing, unreadable, or two say the same.
    pub fn read(path: &Path) -> Result<TestFolder, String> {
        let manifest = Manifest::read(path)?;
        let job = path.join(manifest.job.as_deref().unwrap_or(Path::new(QUERY)));
        let mut folder = TestFolder {
            path: path.to_path_buf(),
            job: JobText::read(&job)?,
            inputs: BTreeMap::new(),
            interleaved: None,
            expected: BTreeMap::new(),
            manifest,
        };
        let cannot = |error| format!("cannot read {}: {error}", path.display());
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path).map_err(cannot)? {
            files.push(entry.map_err(cannot)?.path());
        }
        files.sort();
        for file in files {
            folder.place(file)?;
        }
        for (table, file) in folder.manifest.inputs.clone() {
            folder.add_input(table, path.join(file))?;
        }
        if let (Some(file), Some(table)) = (&folder.interleaved, folder.inputs.keys().next()) {
            return Err(format!(
                "{}: the rows of '{table}' stand in a file of their own, and {} gives the rows of all tables in one \
                 order; keep one of both",
                path.display(),
                file_name(file)
            ));
        }
        Ok(folder)
    }

    /// Finds out what a file is by its name.
    fn place(&mut self, file: PathBuf) -> Result<(), String> {
        let name = file_name(&file);
        let parts: Vec<&str> = name.split('.').collect();
        match parts.as_slice() {
            ["input", "ndjson"] => self.interleaved = Some(file),
            ["input", "csv"] => {
                return Err(format!(
                    "{}: a CSV file has the rows of one table; name it input.<table>.csv",
                    file.display()
                ));
            }
            ["input", table, "ndjson" | "csv"] => self.add_input((*table).to_string(), file)?,
            ["expected", "ndjson" | "csv"] => self.add_expected(String::new(), file)?,
            ["expected", table, "ndjson" | "csv"] => self.add_expected((*table).to_string(), file)?,
            ["input" | "expected", ..] => {
                return Err(format!(
                    "{}: the name says neither input.<table>.ndjson nor expected.<table>.ndjson (or .csv)",
                    file.display()
                ));
            }
            _ => {}
        }
        Ok(())
    }

    fn add_input(&mut self, table: String, file: PathBuf) -> Result<(), String> {
        match self.inputs.insert(table.clone(), file) {
            None => Ok(()),
            Some(_) => Err(format!(
                "{}: two files give the rows of '{table}'",
                self.path.display()
            )),
        }
    }

    fn add_expected(&mut self, table: String, file: PathBuf) -> Result<(), String> {
        match self.expected.insert(table, file) {
            None => Ok(()),
            Some(other) => Err(format!(
                "{}: {} and another file expect the same",
                self.path.display(),
                file_name(&other)
            )),
        }
    }

    /// The file that holds, or will hold, what is expected of `table`.
    pub fn expected_file(&self, table: &str) -> PathBuf {
        let name = match table {
            "" => "expected.ndjson".to_string(),
            table => format!("expected.{table}.ndjson"),
        };
        let known = self.expected.get(table).cloned();
        known.unwrap_or_else(|| self.path.join(name))
    }
}

/// The last part of a path.
pub fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
