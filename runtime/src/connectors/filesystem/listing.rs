//! Which files a `path` means: a file, all files of a directory, or a glob.
//!
//! **Invariant.** Files are in name order and each is named once; hidden files, names that start
//! with `_` and unfinished parts (`.inprogress`) are not input.

use std::path::{Path, PathBuf};

/// What a `path` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilePattern {
    /// One file.
    File(PathBuf),
    /// Every file in a directory (not in its sub-directories).
    Directory(PathBuf),
    /// Every file that matches.
    Glob(String),
}

impl FilePattern {
    /// Tells what `path` names; a path that does not exist is a file unless it has wildcards or
    /// ends with a slash.
    pub fn parse(path: &str) -> FilePattern {
        let path = path.strip_prefix("file://").unwrap_or(path);
        let plain = PathBuf::from(path);
        if plain.is_dir() || path.ends_with('/') {
            FilePattern::Directory(plain)
        } else if plain.exists() || !path.contains(['*', '?', '[']) {
            FilePattern::File(plain)
        } else if path.ends_with("**") {
            // By itself `**` matches directories only.
            FilePattern::Glob(format!("{path}/*"))
        } else {
            FilePattern::Glob(path.to_string())
        }
    }

    /// Whether further files may appear.
    pub fn may_grow(&self) -> bool {
        !matches!(self, FilePattern::File(_))
    }

    /// The files there are now, in name order.
    ///
    /// # Errors
    /// What the directory, the file or the pattern lacks, with its path.
    pub fn list(&self) -> Result<Vec<PathBuf>, String> {
        let mut files = match self {
            FilePattern::File(path) => {
                let metadata = path.metadata().map_err(|error| unreadable(path, &error))?;
                if !metadata.is_file() && metadata.is_dir() {
                    return Err(format!("{} is a directory", path.display()));
                }
                return Ok(vec![path.clone()]);
            }
            FilePattern::Directory(directory) => {
                let entries = std::fs::read_dir(directory).map_err(|error| unreadable(directory, &error))?;
                let paths = entries.map(|entry| entry.map(|entry| entry.path()));
                paths
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|error| unreadable(directory, &error))?
            }
            FilePattern::Glob(pattern) => glob::glob(pattern)
                .map_err(|error| format!("'{pattern}' is not a valid pattern: {error}"))?
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| unreadable(error.path(), error.error()))?,
        };
        files.retain(|path| is_input(path) && path.is_file());
        files.sort();
        Ok(files)
    }
}

/// Whether a file of this name is input.
fn is_input(path: &Path) -> bool {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy())
        .unwrap_or_default();
    !name.starts_with(['.', '_']) && !name.ends_with(".inprogress")
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => format!("there is no file {}", path.display()),
        _ => format!("cannot read {}: {error}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::testing::TemporaryDirectory;

    #[test]
    fn two_stars_at_the_end_are_all_files_below() {
        let directory = TemporaryDirectory::create();
        std::fs::create_dir(directory.path().join("sub")).unwrap();
        directory.file("a.json", "");
        directory.file("sub/b.json", "");
        let pattern = format!("{}/**", directory.path().display());
        let files = FilePattern::parse(&pattern).list().unwrap();
        let expected = ["a.json", "sub/b.json"].map(|name| directory.path().join(name));
        assert_eq!(files, expected);
    }

    #[test]
    fn a_directory_is_its_visible_files_in_name_order() {
        let directory = TemporaryDirectory::create();
        for name in [
            "b.json",
            "a.json",
            ".hidden",
            "_SUCCESS",
            ".part-0-0.json.inprogress",
            "c.json.inprogress",
        ] {
            directory.file(name, "");
        }
        std::fs::create_dir(directory.path().join("sub")).unwrap();
        let files = FilePattern::parse(directory.path().to_str().unwrap())
            .list()
            .unwrap();
        let names: Vec<_> = files.iter().map(|path| path.file_name().unwrap()).collect();
        assert_eq!(names, ["a.json", "b.json"]);
    }

    #[test]
    fn a_glob_matches_files_and_a_missing_file_is_named() {
        let directory = TemporaryDirectory::create();
        directory.file("x1.csv", "");
        directory.file("x2.json", "");
        let pattern = directory.path().join("x*.csv");
        let files = FilePattern::parse(pattern.to_str().unwrap()).list().unwrap();
        assert_eq!(files.len(), 1);
        let missing = directory.path().join("nothing.json");
        let error = FilePattern::parse(missing.to_str().unwrap()).list().unwrap_err();
        assert!(
            error.contains("there is no file") && error.contains("nothing.json"),
            "{error}"
        );
    }
}
