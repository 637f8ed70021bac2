//! `${NAME}` and `${file:PATH}` in values of options: what must not stand in a job's text comes from the
//! environment or from a file.
//!
//! **Invariant.** What was put in is given to the connector alone: messages, plans and logs show the option as
//! it is written.

use std::path::Path;

/// `text` with every `${NAME}` replaced by that variable of the environment, and every `${file:PATH}` by the
/// content of that file without the line break at its end. `$$` stands for a dollar sign.
///
/// # Errors
/// A variable that is not set, a file that cannot be read, a brace that is not closed.
pub fn resolve(text: &str) -> Result<String, String> {
    resolve_with(
        text,
        |name| std::env::var(name).map_err(|error| error.to_string()),
        |path| std::fs::read_to_string(path).map_err(|error| error.to_string()),
    )
}

/// Whether `text` takes something from outside.
pub fn is_secret(text: &str) -> bool {
    text.contains("${")
}

fn resolve_with(
    text: &str,
    variable: impl Fn(&str) -> Result<String, String>,
    file: impl Fn(&Path) -> Result<String, String>,
) -> Result<String, String> {
    let mut resolved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        resolved.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(behind) = rest.strip_prefix('$') {
            resolved.push('$');
            rest = behind;
            continue;
        }
        let Some(inner) = rest.strip_prefix('{') else {
            resolved.push('$');
            continue;
        };
        let Some((name, behind)) = inner.split_once('}') else {
            return Err(format!("'{text}' has a '${{' without its '}}'"));
        };
        match name.strip_prefix("file:") {
            Some(path) => {
                let content = file(Path::new(path))
                    .map_err(|error| format!("the file {path} of '${{{name}}}' cannot be read: {error}"))?;
                resolved.push_str(content.trim_end_matches(['\n', '\r']));
            }
            None => {
                let value = variable(name).map_err(|error| {
                    format!("the variable {name} of '${{{name}}}' is not in the environment: {error}")
                })?;
                resolved.push_str(&value);
            }
        }
        rest = behind;
    }
    resolved.push_str(rest);
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let variable = |name: &str| match name {
            "USER" => Ok("ada".to_string()),
            _ => Err("environment variable not found".to_string()),
        };
        let file = |path: &Path| match path.to_str() {
            Some("/run/secret") => Ok("pa$$word\n".to_string()),
            _ => Err("no such file".to_string()),
        };
        let found = resolve_with(text, variable, file);
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
    }

    #[test]
    fn variables_and_files_are_put_in_and_anything_else_stays() {
        check("plain", Ok("plain"));
        check("${USER}:${file:/run/secret}", Ok("ada:pa$$word"));
        check("5$ and $${USER}", Ok("5$ and ${USER}"));
    }

    #[test]
    fn what_is_missing_is_named() {
        check(
            "x${NOBODY}",
            Err(
                "the variable NOBODY of '${NOBODY}' is not in the environment: environment variable not found",
            ),
        );
        check(
            "${file:/none}",
            Err("the file /none of '${file:/none}' cannot be read: no such file"),
        );
        check("${USER", Err("'${USER' has a '${' without its '}'"));
    }
}
