//! The names of a setting: dotted, as a flag, and as an environment variable.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{ConfigError, Settings};

/// The environment variable that names the configuration file. It is not a setting.
pub const CONFIG_VARIABLE: &str = "RATELIMITERD_CONFIG";

/// The environment variable that names the file with a client's token. It is not a setting.
pub const TOKEN_FILE_VARIABLE: &str = "RATELIMITERD_TOKEN_FILE";

/// The environment variable that names the service for `ratelimiterd limits`. It is not a setting.
pub const SERVER_URL_VARIABLE: &str = "RATELIMITERD_URL";

/// The prefix of the environment variable of every setting.
const VARIABLE_PREFIX: &str = "RATELIMITERD_";

/// Kubernetes gives every pod variables with these prefixes if a service is named `ratelimiterd`.
const KUBERNETES_PREFIXES: [&str; 2] = ["RATELIMITERD_SERVICE_", "RATELIMITERD_PORT"];

/// The dotted name and the default of every setting.
pub fn names() -> BTreeMap<String, Value> {
    let mut names = BTreeMap::new();
    // TOML can express every default, so this does not fail; a test checks that no section is missing.
    if let Ok(defaults) = Table::try_from(Settings::default()) {
        flatten("", &defaults, &mut names);
    }
    names
}

/// The flag of a setting, without its dashes: `server-listen-addr` for `server.listen_addr`.
pub fn flag(name: &str) -> String {
    name.replace(['.', '_'], "-")
}

/// The environment variable of a setting: `RATELIMITERD_SERVER_LISTEN_ADDR` for `server.listen_addr`.
pub fn variable(name: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", name.replace('.', "_").to_uppercase())
}

/// Checks that every variable named `RATELIMITERD_*` is a setting, a variable of the program or of its clients, or one of Kubernetes.
///
/// # Errors
///
/// [`ConfigError::UnknownVariable`] names the first variable that is none of them.
pub fn check_variables(variables: impl IntoIterator<Item = String>) -> Result<(), ConfigError> {
    let settings: Vec<String> = names().keys().map(|name| variable(name)).collect();
    let is_known = |name: &String| {
        !name.starts_with(VARIABLE_PREFIX)
            || [CONFIG_VARIABLE, TOKEN_FILE_VARIABLE, SERVER_URL_VARIABLE].contains(&name.as_str())
            || KUBERNETES_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || settings.contains(name)
    };
    match variables.into_iter().find(|name| !is_known(name)) {
        Some(unknown) => Err(ConfigError::UnknownVariable(unknown)),
        None => Ok(()),
    }
}

fn flatten(prefix: &str, table: &Table, names: &mut BTreeMap<String, Value>) {
    for (name, value) in table {
        let dotted = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(section) => flatten(&dotted, section, names),
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Array(_) => {
                names.insert(dotted, value.clone());
            }
        }
    }
}
