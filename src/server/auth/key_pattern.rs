//! Key patterns: the limits that a caller may use, see and change.

use std::fmt;

use crate::limit::{KeyError, KeyTemplate, LimitKey};

/// A last segment that matches the rest of a key, colons included.
const REST: &str = "*";
/// The same as a placeholder of a template.
const REST_PLACEHOLDER: &str = "{_*}";

/// A key, or the form of many keys.
///
/// | pattern | keys |
/// | --- | --- |
/// | `tenant:acme:rpm` | this one |
/// | `tenant:acme:*` | every key that begins with `tenant:acme:` |
/// | `tenant:{tenant}:rpm` | every key with one segment in the place of `{tenant}` |
/// | `*` | every key |
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPattern {
    text: Box<str>,
    form: Form,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Exact(LimitKey),
    Template(KeyTemplate),
}

/// Why a text is no key pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyPatternError {
    /// It is no key, and no template.
    #[error("key pattern {0:?} {1}")]
    Key(String, #[source] KeyError),
    /// It has a `*` elsewhere than as the last segment.
    #[error("key pattern {0:?}: * must be the whole last segment, as in tenant:acme:*")]
    Star(String),
}

impl KeyPattern {
    /// Checks `text` and makes it a pattern.
    ///
    /// # Errors
    ///
    /// The text is no key and no template, or has a `*` that is not its whole last segment: `tenant:acme*` would also match
    /// the keys of `tenant:acme2`.
    pub fn parse(text: &str) -> Result<Self, KeyPatternError> {
        let before = text.strip_suffix(REST).filter(|before| before.is_empty() || before.ends_with(':'));
        let template = before.map(|before| format!("{before}{REST_PLACEHOLDER}"));
        let name = template.as_deref().unwrap_or(text);
        if name.split(':').any(|segment| !segment.starts_with('{') && segment.contains('*')) {
            return Err(KeyPatternError::Star(text.to_owned()));
        }
        let key = LimitKey::parse_name(name).map_err(|error| KeyPatternError::Key(text.to_owned(), error))?;
        let form = KeyTemplate::of(&key).map_or(Form::Exact(key), Form::Template);
        Ok(Self { text: text.into(), form })
    }

    /// Whether a key matches. A template matches if all keys of its form do.
    pub fn matches(&self, key: &LimitKey) -> bool {
        match &self.form {
            Form::Exact(exact) => exact == key,
            Form::Template(template) => template.covers(key),
        }
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for KeyPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_its_keys_and_the_templates_that_make_only_such_keys() {
        for (pattern, name, is_match) in [
            ("tenant:acme:rpm", "tenant:acme:rpm", true),
            ("tenant:acme:rpm", "tenant:acme:rpm:x", false),
            ("tenant:acme:*", "tenant:acme:rpm", true),
            ("tenant:acme:*", "tenant:acme:llm:rpm", true),
            ("tenant:acme:*", "tenant:acme:", false),
            ("tenant:acme:*", "tenant:acme", false),
            ("tenant:acme:*", "tenant:acme2:rpm", false),
            ("tenant:acme:*", "tenant:ACME:rpm", false),
            ("tenant:acme:*", "xtenant:acme:rpm", false),
            ("tenant:acme:*", "tenant:acme:{user}", true),
            ("tenant:acme:*", "tenant:acme:{user}:rpm", true),
            ("tenant:acme:*", "tenant:acme:{rest*}", true),
            ("tenant:acme:*", "tenant:{tenant}:rpm", false),
            ("tenant:acme:*", "tenant:{rest*}", false),
            ("tenant:acme:*", "{all*}", false),
            ("tenant:{tenant}:rpm", "tenant:acme:rpm", true),
            ("tenant:{tenant}:rpm", "tenant::rpm", false),
            ("tenant:{tenant}:rpm", "tenant:acme:x:rpm", false),
            ("tenant:{tenant}:rpm", "tenant:{x}:rpm", true),
            ("tenant:{tenant}", "tenant:{rest*}", false),
            ("tenant:{tenant}", "tenant:{x}", true),
            ("tenant:{tenant}:*", "tenant:a:b:c", true),
            ("tenant:{rest*}", "tenant:a:b", true),
            ("*", "a:b", true),
            ("*", "{all*}", true),
        ] {
            let key = LimitKey::parse_name(name).expect("a key or a template");
            let parsed = KeyPattern::parse(pattern).expect("a pattern");
            assert_eq!(parsed.matches(&key), is_match, "{pattern} {name}");
            assert_eq!(parsed.as_str(), pattern);
        }
    }

    #[test]
    fn other_texts_are_no_patterns() {
        for star in ["tenant:acme*", "tenant:*:rpm", "**", "a:**", "*:a"] {
            assert!(matches!(KeyPattern::parse(star), Err(KeyPatternError::Star(_))), "{star}");
        }
        for bad in ["", ":a", "a b", "{a", "a:{b}x", "a:{b*}:c", ":*"] {
            assert!(matches!(KeyPattern::parse(bad), Err(KeyPatternError::Key(..))), "{bad}");
        }
    }
}
