//! The segments of a template's key: literals and placeholders.

use super::escape::check_characters;
use super::key_error::KeyError;

/// A segment of a template.
pub(super) enum Segment<'a> {
    Literal(&'a str),
    Placeholder(&'a str),
    /// Matches the rest of a key.
    Rest(&'a str),
}

/// The segments of a template's key, in order.
pub(super) fn segments(text: &str) -> impl Iterator<Item = Segment<'_>> {
    text.split(':').map(|segment| match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(name) => name.strip_suffix('*').map_or(Segment::Placeholder(name), Segment::Rest),
        None => Segment::Literal(segment),
    })
}

/// Checks the segments of a text that holds braces.
pub(super) fn check_segments(text: &str) -> Result<(), KeyError> {
    let mut names = Vec::new();
    let mut segments = segments(text).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            Segment::Placeholder(name) if is_name(name) && !names.contains(&name) => names.push(name),
            Segment::Rest(name) if is_name(name) && !names.contains(&name) && is_last => names.push(name),
            Segment::Placeholder(name) => return Err(KeyError::BadPlaceholder(format!("{{{name}}}"))),
            Segment::Rest(name) => return Err(KeyError::BadPlaceholder(format!("{{{name}*}}"))),
            Segment::Literal(literal) if literal.contains(['{', '}']) => {
                return Err(KeyError::BadPlaceholder(literal.to_owned()));
            }
            Segment::Literal(literal) => check_characters(literal)?,
        }
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}
