//! Templates: definitions that make limits for all keys of a form.

use std::cmp::Reverse;

use super::LimitKey;
use super::segments::{Segment, segments};

/// The most instances that a template may make unless its definition says otherwise.
pub const INSTANCES_MAX_DEFAULT: u64 = 100_000;

/// A key with placeholders, such as `tenant:{tenant}:llm:daily_tokens`. Its definition applies to every key that has a value
/// for each placeholder. A placeholder must fill a whole segment: `a:{tenant}:b`. As the last segment, `{name*}` matches the
/// rest of a key, which may hold colons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTemplate(LimitKey);

impl KeyTemplate {
    /// The template of a definition's key, if the key has placeholders.
    pub fn of(key: &LimitKey) -> Option<Self> {
        key.as_str().contains('{').then(|| Self(key.clone()))
    }

    /// The key of the template's definition.
    pub fn key(&self) -> &LimitKey {
        &self.0
    }

    /// Whether the template's definition applies to this key.
    pub fn matches(&self, key: &LimitKey) -> bool {
        let mut rest = Some(key.as_str());
        for segment in segments(self.0.as_str()) {
            let Some(text) = rest else { return false };
            let (value, after) = match (&segment, text.split_once(':')) {
                (Segment::Rest(_), _) | (_, None) => (text, None),
                (Segment::Literal(_) | Segment::Placeholder(_), Some((value, after))) => (value, Some(after)),
            };
            let is_match = match segment {
                Segment::Literal(literal) => value == literal,
                Segment::Placeholder(_) | Segment::Rest(_) => !value.is_empty(),
            };
            if !is_match {
                return false;
            }
            rest = after;
        }
        rest.is_none()
    }

    /// Whether the template's definition applies to a key, or to every key of another template.
    pub fn covers(&self, name: &LimitKey) -> bool {
        // The rest of a key may hold colons, and one placeholder matches none.
        let is_wider = |(own, other): (Segment<'_>, Segment<'_>)| {
            matches!((own, other), (Segment::Placeholder(_), Segment::Rest(_)))
        };
        let mut pairs = segments(self.0.as_str()).zip(segments(name.as_str()));
        self.matches(name) && !pairs.any(is_wider)
    }

    /// Orders templates that match the same key, the most specific first. The first of these rules that tells two templates
    /// apart decides:
    ///
    /// 1. the one without `{name*}`;
    /// 2. the one with more segments;
    /// 3. the one with fewer placeholders;
    /// 4. the one that has a literal segment where they first differ.
    ///
    /// So if all keys of one template match another one too, the first one applies to them.
    pub(crate) fn precedence(&self) -> impl Ord + use<> {
        let segments: Vec<Segment<'_>> = segments(self.0.as_str()).collect();
        let placeholders: Vec<bool> =
            segments.iter().map(|segment| !matches!(segment, Segment::Literal(_))).collect();
        let takes_rest = matches!(segments.last(), Some(Segment::Rest(_)));
        let count = placeholders.iter().filter(|is_placeholder| **is_placeholder).count();
        (takes_rest, Reverse(placeholders.len()), count, placeholders, Reverse(self.0.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::KeyError;

    fn template(text: &str) -> KeyTemplate {
        KeyTemplate::of(&LimitKey::parse_name(text).expect("valid")).expect("a template")
    }

    #[test]
    fn a_placeholder_matches_exactly_one_segment() {
        let daily = template("tenant:{tenant}:llm:daily_tokens");
        let matches = |text: &str| daily.matches(&LimitKey::parse(text).expect("valid"));
        assert!(matches("tenant:acme:llm:daily_tokens"));
        assert!(matches("tenant:a/b@c:llm:daily_tokens"));
        for other in [
            "tenant:acme:llm:daily",
            "tenant::llm:daily_tokens",
            "tenant:acme:corp:llm:daily_tokens",
            "tenant:acme:llm",
            "tenant:acme:llm:daily_tokens:more",
        ] {
            assert!(!matches(other), "{other}");
        }
    }

    #[test]
    fn the_last_placeholder_may_match_the_rest() {
        let by_ip = template("ip:{version}:{ip*}");
        let matches = |text: &str| by_ip.matches(&LimitKey::parse(text).expect("valid"));
        for key in ["ip:4:203.0.113.7", "ip:6:2001:db8::1", "ip:6:::1", "ip:6::", "ip:6:user%3Aann:x"] {
            assert!(matches(key), "{key}");
        }
        for other in ["ip:6:", "ip:6", "ip::1", "ipv:6:1"] {
            assert!(!matches(other), "{other}");
        }
        assert!(template("{all*}").matches(&LimitKey::parse("a:b").expect("valid")));
    }

    #[test]
    fn the_most_specific_template_sorts_first() {
        let mut templates = [
            "{all*}",
            "tenant:{rest*}",
            "{a}:{b}:{rest*}",
            "tenant:{b}:{rest*}",
            "{a}:llm:{rest*}",
            "{a}:{b}:{c}",
            "tenant:{b}:{c}",
            "{a}:llm:rpm",
            "tenant:{b}:rpm",
            "tenant:acme:{c}",
            "tenant:{tenant}:rpm",
        ]
        .map(template);
        templates.sort_by_key(KeyTemplate::precedence);
        let texts = templates.each_ref().map(|template| template.key().as_str());
        assert_eq!(
            texts,
            [
                "tenant:acme:{c}",
                "tenant:{tenant}:rpm",
                "tenant:{b}:rpm",
                "{a}:llm:rpm",
                "tenant:{b}:{c}",
                "{a}:{b}:{c}",
                "tenant:{b}:{rest*}",
                "{a}:llm:{rest*}",
                "{a}:{b}:{rest*}",
                "tenant:{rest*}",
                "{all*}",
            ]
        );
    }

    #[test]
    fn only_well_formed_texts_are_templates() {
        for good in ["{a}", "user:{user_id}", "{a}:{b}:rpm", "a::{b}", "{a*}", "{a}:{b*}", "{a}:%7B"] {
            assert_eq!(LimitKey::parse_name(good).map(|key| key.to_string()).as_deref(), Ok(good));
            assert!(LimitKey::parse(good).is_err(), "{good} is not the key of a limit");
        }
        for bad in [
            "user-{id}",
            "{}",
            "{A}",
            "{a}:{a}",
            "{a",
            "a}",
            "{a}{b}",
            "{a b}",
            "{*}",
            "{a*}:b",
            "{a}:{a*}",
            "{a**}",
            "{*a}",
            "a:b*{c}",
        ] {
            assert!(matches!(LimitKey::parse_name(bad), Err(KeyError::BadPlaceholder(_))), "{bad}");
        }
        assert_eq!(LimitKey::parse_name(":{a}"), Err(KeyError::BadStart(':')));
        assert_eq!(LimitKey::parse_name("{a}:b c"), Err(KeyError::BadCharacter(' ')));
        assert_eq!(LimitKey::parse_name(&format!("{{a}}:{}", "k".repeat(256))), Err(KeyError::TooLong(260)));
    }
}
