//! A key with placeholders for the values of entries.

use super::EntryPattern;
use crate::limit::{LimitKey, escape_segment};

/// The form of the keys that a rule makes, such as `tenant:{tenant}:rpm`.
#[derive(Debug)]
pub(super) enum KeyForm {
    /// One key.
    Fixed(LimitKey),
    /// The segments of keys.
    Segments(Vec<Segment>),
}

/// One segment of a key.
#[derive(Debug)]
pub(super) enum Segment {
    Literal(String),
    /// The value of the entry at this index.
    Value(usize),
}

impl KeyForm {
    /// Checks a text. Its placeholders name entries, and each fills a whole segment.
    pub(super) fn parse(text: &str, entries: &[EntryPattern]) -> Result<Self, String> {
        let key = LimitKey::parse_name(text).map_err(|error| format!("{text:?} {error}"))?;
        if !text.contains('{') {
            return Ok(Self::Fixed(key));
        }
        let segment = |segment: &str| match name_of(segment) {
            Some(name) => index_of(name, entries).map(Segment::Value),
            None => Ok(Segment::Literal(segment.to_owned())),
        };
        Ok(Self::Segments(text.split(':').map(segment).collect::<Result<_, String>>()?))
    }

    /// The key for the values of these entries, which are pairs of key and value. `None` if a value is empty, or too long for
    /// a key.
    pub(super) fn fill(&self, entries: &[(&str, &str)]) -> Option<LimitKey> {
        let segments = match self {
            Self::Fixed(key) => return Some(key.clone()),
            Self::Segments(segments) => segments,
        };
        let mut key = String::new();
        for segment in segments {
            if !key.is_empty() {
                key.push(':');
            }
            match segment {
                Segment::Literal(text) => key.push_str(text),
                Segment::Value(index) => {
                    let (_, value) = entries.get(*index).filter(|(_, value)| !value.is_empty())?;
                    key.push_str(&escape_segment(value));
                }
            }
        }
        LimitKey::parse(&key).ok()
    }
}

/// The name in a placeholder.
fn name_of(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// The only entry with this name.
fn index_of(name: &str, entries: &[EntryPattern]) -> Result<usize, String> {
    let is_named = |(_, entry): &(usize, &EntryPattern)| entry.name.as_ref().unwrap_or(&entry.key) == name;
    let mut found = entries.iter().enumerate().filter(is_named).map(|(index, _)| index);
    match (found.next(), found.next()) {
        (Some(index), None) => Ok(index),
        (None, _) => Err(format!("names {{{name}}}, but no entry has this name; set `as` of the entry")),
        (Some(_), Some(_)) => {
            Err(format!("names {{{name}}}, but several entries have this name; set `as` of one of them"))
        }
    }
}
