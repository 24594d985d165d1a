//! Reads settings: the defaults, then the file, then variables and flags, each over the one before.

use std::path::Path;

use toml::{Table, Value};

use super::settings::Settings;
use super::{ConfigError, bad, names};

impl Settings {
    /// Reads the text of the file at `path`, applies `overrides` (dotted name, text) over it, and checks every setting.
    pub fn parse(path: &Path, text: &str, overrides: &[(String, String)]) -> Result<Self, ConfigError> {
        let syntax = |error: &dyn std::fmt::Display| ConfigError::Syntax {
            path: path.to_owned(),
            message: error.to_string(),
        };
        let file: Table = text.parse().map_err(|error: toml::de::Error| syntax(&error))?;
        let mut table = Table::try_from(Settings::default()).map_err(|error| syntax(&error))?;
        override_with(&mut table, file);
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

/// Replaces the values that `over` has, section by section.
fn override_with(table: &mut Table, over: Table) {
    for (name, value) in over {
        match (table.get_mut(&name), value) {
            (Some(Value::Table(section)), Value::Table(over)) => override_with(section, over),
            (_, value) => {
                table.insert(name, value);
            }
        }
    }
}

/// Sets a setting from a text, which is read as the type of the setting's default.
fn set(table: &mut Table, name: &str, text: &str) -> Result<(), ConfigError> {
    let names = names();
    let default = names.get(name).ok_or_else(|| bad(name, "there is no such setting"))?;
    let value = match default {
        Value::String(_) => Value::String(text.to_owned()),
        Value::Array(_) if !text.trim_start().starts_with('[') => {
            Value::Array(text.split(',').map(|item| Value::String(item.trim().to_owned())).collect())
        }
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) => {
            let parsed: Option<Table> = format!("value = {text}").parse().ok();
            // A text that is not a TOML number may be a large cluster id. If it is not, deserializing the text reports it.
            let as_text = || Value::String(text.to_owned());
            parsed.and_then(|mut parsed| parsed.remove("value")).unwrap_or_else(as_text)
        }
        Value::Table(_) => return Err(bad(name, "is a section")),
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
