//! What is wrong with a JSON text, and where.

use std::fmt;

/// The most characters of an unknown name that an error repeats.
const NAME_CHARS_MAX: usize = 64;

/// Why a text cannot be read. Its text begins with the path of the field, if one field is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JsonError {
    /// The field, such as `requirements[0].amount`; empty if the text as a whole is wrong.
    path: String,
    problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Problem {
    /// A sentence of its own.
    Text(String),
    /// What is said of the value at the path: `must be a string`.
    Value(String),
    /// The object at the path lacks a required field.
    Missing(&'static str),
}

impl JsonError {
    /// The text as a whole is wrong.
    pub(super) fn text(message: impl fmt::Display) -> Self {
        Self { path: String::new(), problem: Problem::Text(message.to_string()) }
    }

    /// The text is no JSON. `serde_json` says what it expected, and where.
    pub(super) fn syntax(error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let at = format!(" at line {line} column {column}");
        if error.is_eof() {
            return Self::text(format_args!("the JSON is not complete; it ends{at}"));
        }
        let message = error.to_string();
        let what = message.strip_suffix(&at).unwrap_or(&message);
        Self::text(format_args!("the JSON is malformed{at}: {what}"))
    }

    /// The value at this place is wrong; `message` is what is said of it, such as `must be a string`.
    pub(super) fn value(message: String) -> Self {
        Self { path: String::new(), problem: Problem::Value(message) }
    }

    /// The same error, seen from the object or array around the place: `step` is `.name` or `[0]`.
    pub(super) fn inside(mut self, step: &str) -> Self {
        self.path.insert_str(0, step);
        self
    }

    /// The required field that the object at this very place lacks.
    pub(super) fn missing(&self) -> Option<&'static str> {
        match self.problem {
            Problem::Missing(field) if self.path.is_empty() => Some(field),
            Problem::Missing(_) | Problem::Text(_) | Problem::Value(_) => None,
        }
    }

    /// The path of the wrong field; empty if the text as a whole is wrong.
    pub(crate) fn path(&self) -> &str {
        self.path.strip_prefix('.').unwrap_or(&self.path)
    }

    /// What is wrong there.
    pub(crate) fn message(&self) -> String {
        match &self.problem {
            Problem::Text(message) | Problem::Value(message) => message.clone(),
            Problem::Missing(field) => format!("missing field `{field}`"),
        }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, message) = (self.path(), self.message());
        match (&self.problem, path) {
            (Problem::Value(_), "") => write!(f, "the JSON {message}"),
            (Problem::Value(_), path) => write!(f, "{path} {message}"),
            (Problem::Text(_) | Problem::Missing(_), "") => f.write_str(&message),
            (Problem::Text(_) | Problem::Missing(_), path) => write!(f, "{path}: {message}"),
        }
    }
}

impl std::error::Error for JsonError {}

impl serde::de::Error for JsonError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::text(message)
    }

    fn missing_field(field: &'static str) -> Self {
        Self { path: String::new(), problem: Problem::Missing(field) }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::text(format_args!("unknown field `{}`; the fields are {}", cut(field), listed(expected)))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::value(format!("must be one of {}, not `{}`", listed(expected), cut(variant)))
    }
}

/// The beginning of a name from outside.
pub(super) fn cut(name: &str) -> String {
    match name.char_indices().nth(NAME_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
