//! The content of the registry file: limits to JSON and back.

use std::collections::HashSet;
use std::path::Path;

use super::FileError;
use crate::json;
use crate::limit::LimitState;
use crate::limit::json::LimitStateJson;

/// Reads the content of the file at `path`.
pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Vec<LimitState>, FileError> {
    let damaged =
        |place: String, message: String| FileError::Damaged { path: path.to_owned(), place, message };
    let entries: Vec<LimitStateJson> = json::read(bytes).map_err(|error| {
        let place = if error.path().is_empty() { "its top level" } else { error.path() };
        damaged(place.to_owned(), error.message())
    })?;
    let mut states: Vec<LimitState> = Vec::with_capacity(entries.len());
    let mut keys = HashSet::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let state = entry.into_state().map_err(|message| damaged(format!("[{index}]"), message))?;
        if !keys.insert(state.definition.key.clone()) {
            return Err(damaged(format!("[{index}]"), format!("key {} appears twice", state.definition.key)));
        }
        states.push(state);
    }
    Ok(states)
}

/// The content that holds these limits.
pub(crate) fn encode(states: &[LimitState]) -> serde_json::Result<String> {
    let entries: Vec<LimitStateJson> = states.iter().map(LimitStateJson::from).collect();
    let mut text = serde_json::to_string_pretty(&entries)?;
    text.push('\n');
    Ok(text)
}
