//! The file of tokens: one entry of TOML for each, with the SHA-256 of the token in the place of the token.
//!
//! ```toml
//! [[token]]
//! name = "acme"
//! sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
//! scopes = ["reserve", "read"]
//! keys = ["tenant:acme:*"]
//! expires = 2027-02-26T00:00:00Z
//! ```

use std::collections::HashSet;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use toml::value::Datetime;

use super::token::TokenDigest;
use super::token_table::TokenTable;
use super::{Access, AllowedKeys, KeyPattern, Scope, Scopes};

/// The content of a file. `token` is required, so that a file that was cut off at its beginning does not revoke all tokens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFile {
    token: Vec<TokenEntry>,
}

/// A token of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenEntry {
    /// Names the holder in logs; no two tokens have the same.
    pub name: String,
    /// The SHA-256 of the token's text, in hexadecimal digits.
    pub sha256: String,
    /// At least one.
    pub scopes: Vec<Scope>,
    /// Patterns of the allowed keys. Without the field every key is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Vec<String>>,
    /// When the token ends, in UTC. Without the field it does not end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Datetime>,
}

impl TokenEntry {
    /// The entry as TOML, to be appended to a file of tokens.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        let mut text = String::from("[[token]]\n");
        // Writing to a `String` does not fail.
        write!(text, "{}", toml::to_string(self)?).ok();
        Ok(text)
    }

    fn into_access(self) -> Result<(TokenDigest, Access), String> {
        let digest = TokenDigest::parse(&self.sha256);
        // The text is not repeated: it could be the token itself.
        let digest = digest.ok_or("sha256 must be the SHA-256 of the token, in 64 hexadecimal digits")?;
        let access = access_of(self.name, self.scopes, self.keys, self.expires)?;
        Ok((digest, access))
    }
}

/// What the fields of an entry allow.
pub(super) fn access_of(
    name: String,
    scopes: Vec<Scope>,
    keys: Option<Vec<String>>,
    expires: Option<Datetime>,
) -> Result<Access, String> {
    let scopes: Scopes = scopes.into_iter().collect();
    if scopes.is_empty() {
        return Err("scopes must name at least one scope".to_owned());
    }
    let keys = match keys {
        None => AllowedKeys::All,
        Some(patterns) if patterns.is_empty() => {
            return Err("keys must not be empty; leave it out to allow every key".to_owned());
        }
        Some(patterns) => {
            let patterns: Result<_, _> = patterns.iter().map(|pattern| KeyPattern::parse(pattern)).collect();
            AllowedKeys::Matching(patterns.map_err(|error| error.to_string())?)
        }
    };
    let expires_unix_seconds = expires.map(unix_seconds).transpose()?;
    Ok(Access { name, scopes, keys, expires_unix_seconds })
}

/// A date of TOML in seconds since the Unix epoch.
fn unix_seconds(date: Datetime) -> Result<u64, String> {
    let text = date.to_string();
    let invalid =
        |_| format!("expires must be a date and time in UTC such as 2027-02-26T00:00:00Z, not {text}");
    let at = humantime::parse_rfc3339(&text).map_err(invalid)?;
    Ok(at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs())
}

/// A time as a date of TOML, in whole seconds.
pub(super) fn date(at: SystemTime) -> Option<Datetime> {
    humantime::format_rfc3339_seconds(at).to_string().parse().ok()
}

/// Reads the tokens of files into one table.
///
/// # Errors
///
/// The file, and what is wrong in which of its entries. It shows nothing of a token.
pub(super) fn parse_files<'a>(
    files: impl IntoIterator<Item = (&'a Path, &'a str)>,
) -> Result<TokenTable, (&'a Path, String)> {
    let mut table = TokenTable::default();
    let mut names = HashSet::new();
    for (path, text) in files {
        for entry in parse_entries(text).map_err(|error| (path, error))? {
            let name = entry.name.clone();
            let wrong = |error: &str| (path, format!("token {name:?}: {error}"));
            let (digest, access) = entry.into_access().map_err(|error| wrong(&error))?;
            if !names.insert(name.clone()) {
                return Err(wrong("another token has this name"));
            }
            if !table.insert(digest, access) {
                return Err(wrong("another token has this sha256"));
            }
        }
    }
    Ok(table)
}

/// The entries of a file.
pub(crate) fn parse_entries(text: &str) -> Result<Vec<TokenEntry>, String> {
    // The whole text of the error would repeat the line, in which somebody could have put a token.
    let file: Result<TokenFile, _> = toml::from_str(text);
    let file = file.map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = 1 + before.matches('\n').count();
        format!("line {line}: {}", error.message())
    })?;
    Ok(file.token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TokenTable, String> {
        parse_files([(Path::new("tokens.toml"), text)]).map_err(|(_, error)| error)
    }

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn entry(fields: &str) -> String {
        format!("[[token]]\nname = 'a'\nsha256 = '{DIGEST}'\nscopes = ['reserve']\n{fields}\n")
    }

    #[test]
    fn an_entry_tells_what_its_token_may_do() {
        let text = entry("keys = ['tenant:acme:*']\nexpires = 1970-01-02T00:00:00Z");
        let table = parse(&text).expect("a valid file");
        let access = table.find(&TokenDigest::of(b"")).expect("the token of the digest");
        let pattern = KeyPattern::parse("tenant:acme:*").expect("a pattern");
        assert_eq!(
            **access,
            Access {
                name: "a".to_owned(),
                scopes: [Scope::Reserve].into_iter().collect(),
                keys: AllowedKeys::Matching(vec![pattern]),
                expires_unix_seconds: Some(86_400),
            }
        );
        assert!(table.find(&TokenDigest::of(b"x")).is_none());
    }

    #[test]
    fn a_file_may_revoke_all_tokens_only_in_words() {
        assert_eq!(parse("token = []").map(|table| table.len()), Ok(0));
        let error = parse("").expect_err("an empty file");
        assert!(error.contains("missing field `token`"), "{error}");
    }

    #[test]
    fn an_error_names_the_entry_and_shows_nothing_of_a_token() {
        let secret = "rl_SECRETSECRETSECRETSECRETSECRETSECRETSECRETSECR";
        let no_scope = entry("").replace("'reserve'", "");
        let other_name = entry("").replace("'a'", "'b'");
        for (text, cause) in [
            (entry("keys = []"), "token \"a\": keys must not be empty"),
            (entry("keys = ['a*']"), "token \"a\": key pattern \"a*\": * must be the whole last segment"),
            (entry("expires = 2027-02-26"), "token \"a\": expires must be a date and time in UTC"),
            (
                entry("expires = 2027-02-26T00:00:00+02:00"),
                "token \"a\": expires must be a date and time in UTC",
            ),
            (entry("prefix = 'a'"), "unknown field `prefix`"),
            (no_scope, "token \"a\": scopes must name at least one scope"),
            (entry("").replace("reserve", "write"), "unknown variant `write`"),
            (entry("").replace(DIGEST, secret), "token \"a\": sha256 must be the SHA-256 of the token"),
            (format!("{}{}", entry(""), entry("")), "token \"a\": another token has this name"),
            (format!("{}{other_name}", entry("")), "token \"b\": another token has this sha256"),
            (format!("token = {secret}"), "line 1: "),
        ] {
            let error = parse(&text).expect_err(&text);
            assert!(error.contains(cause), "{text}: {error}");
            assert!(!error.contains("SECRET"), "{error}");
        }
    }

    #[test]
    fn an_entry_survives_a_round_trip() {
        let at = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let entry = TokenEntry {
            name: "a \"quoted\" name".to_owned(),
            sha256: DIGEST.to_owned(),
            scopes: vec![Scope::Reserve, Scope::Admin],
            keys: Some(vec!["tenant:acme:*".to_owned()]),
            expires: date(at),
        };
        let file: TokenFile = toml::from_str(&entry.to_toml().expect("TOML")).expect("a file");
        assert_eq!(file.token, std::slice::from_ref(&entry));
        assert_eq!(entry.into_access().expect("valid").1.expires_unix_seconds, Some(1_800_000_000));
    }
}
