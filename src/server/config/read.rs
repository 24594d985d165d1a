//! Merges defaults, file, and overrides into checked settings.

use std::fmt;
use std::path::Path;

use toml::{Table, Value};

use super::check::bad;
use super::{ConfigError, Settings, names};

impl Settings {
    /// Reads the configuration file if `path` names one, and applies `overrides` as [`Settings::parse`] does.
    ///
    /// # Errors
    ///
    /// Those of [`Settings::parse`], and [`ConfigError::Read`] if the file cannot be read.
    pub fn read(path: Option<&Path>, overrides: &[(String, String)]) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Self::parse(Path::new("defaults"), "", overrides) };
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &text, overrides)
    }

    /// Merges the defaults, the TOML `text` and the `overrides`, the later over the earlier, and checks the result.
    /// Error messages name `path`. An override is the dotted name of a setting and the text of its value.
    ///
    /// # Errors
    ///
    /// The text is not TOML, or a setting is unknown, of the wrong type, or out of range.
    pub fn parse(path: &Path, text: &str, overrides: &[(String, String)]) -> Result<Self, ConfigError> {
        let syntax = |error: &dyn fmt::Display| ConfigError::Syntax {
            path: path.to_owned(),
            message: error.to_string(),
        };
        let file: Table = text.parse().map_err(|error: toml::de::Error| syntax(&error))?;
        let mut table = Table::try_from(Settings::default()).map_err(|error| syntax(&error))?;
        merge(&mut table, file);
        for (name, text) in overrides {
            set(&mut table, name, text)?;
        }
        let settings: Settings = serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
            let path = error.path().to_string();
            let message = error.into_inner().to_string().trim().replace('\n', " ");
            ConfigError::Setting { name: path, message }
        })?;
        settings.check()?;
        Ok(settings)
    }
}

/// Replaces every value of `table` that `over` holds too, section by section.
fn merge(table: &mut Table, over: Table) {
    for (name, value) in over {
        match (table.get_mut(&name), value) {
            (Some(Value::Table(section)), Value::Table(over)) => merge(section, over),
            (_, value) => {
                table.insert(name, value);
            }
        }
    }
}

/// A value of TOML; `None` if the text is not one.
fn parse_value(text: &str) -> Option<Value> {
    let mut parsed: Table = format!("value = {text}").parse().ok()?;
    parsed.remove("value")
}

/// Sets the setting with the dotted name `name` to `text`, parsed as the type of its default.
fn set(table: &mut Table, name: &str, text: &str) -> Result<(), ConfigError> {
    let names = names();
    let default = names.get(name).ok_or_else(|| bad(name, "there is no such setting"))?;
    let value = match default {
        Value::String(_) => Value::String(text.to_owned()),
        // An array of TOML, or items between commas. An item may begin as an array does: `[::1]:3000`.
        Value::Array(_) => parse_value(text).filter(Value::is_array).unwrap_or_else(|| {
            Value::Array(text.split(',').map(|item| Value::String(item.trim().to_owned())).collect())
        }),
        // A cluster id over 2^63-1 is not a TOML value. Any other text fails as a string of the wrong type.
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {
            parse_value(text).unwrap_or_else(|| Value::String(text.to_owned()))
        }
        Value::Table(_) => return Err(bad(name, "is a section; set one of its settings")),
    };
    let mut sections: Vec<&str> = name.split('.').collect();
    let last = sections.pop().unwrap_or(name);
    let mut at = table;
    for section in sections {
        let inner = at.entry(section).or_insert_with(|| Value::Table(Table::new()));
        at = inner.as_table_mut().ok_or_else(|| bad(section, "must be a section"))?;
    }
    at.insert(last.to_owned(), value);
    Ok(())
}
