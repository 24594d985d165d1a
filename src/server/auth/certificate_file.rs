//! The file of certificates: what the clients may do that show a certificate of `tls.client_ca_path`.
//!
//! ```toml
//! [[certificate]]
//! name = "gateway"
//! subject = "URI:spiffe://example/gateway" # or "DNS:gateway.internal", or "CN:gateway"
//! scopes = ["reserve", "read"]
//! keys = ["tenant:acme:*"]
//! ```

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::Deserialize;
use toml::value::Datetime;

use super::token_file::access_of;
use super::{Access, Scope};
use crate::server::tls::ClientIdentity;

/// The kinds of subjects.
const PREFIXES: [&str; 3] = ["URI:", "DNS:", "CN:"];

/// The content of a file. `certificate` is required, so that a file that was cut off at its beginning does not revoke all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateFile {
    certificate: Vec<CertificateEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateEntry {
    /// Names the holder in logs.
    name: String,
    subject: String,
    scopes: Vec<Scope>,
    keys: Option<Vec<String>>,
    expires: Option<Datetime>,
}

/// The certificates that the service accepts, by their subject.
#[derive(Debug, Default)]
pub(crate) struct CertificateTable {
    by_subject: HashMap<String, Arc<Access>>,
}

impl CertificateTable {
    /// Reads the certificates of a file.
    ///
    /// # Errors
    ///
    /// What is wrong in which of its entries.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let file: CertificateFile = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut table = Self::default();
        let mut names = HashSet::new();
        for CertificateEntry { name, subject, scopes, keys, expires } in file.certificate {
            let wrong = |error: &str| format!("certificate {name:?}: {error}");
            if !PREFIXES.iter().any(|prefix| subject.len() > prefix.len() && subject.starts_with(prefix)) {
                return Err(wrong("subject must be URI:..., DNS:... or CN:..."));
            }
            if !names.insert(name.clone()) {
                return Err(wrong("another certificate has this name"));
            }
            let access = access_of(name.clone(), scopes, keys, expires).map_err(|error| wrong(&error))?;
            if table.by_subject.insert(subject, Arc::new(access)).is_some() {
                return Err(wrong("another certificate has this subject"));
            }
        }
        Ok(table)
    }

    /// The access of the first subject that has one.
    pub(super) fn find(&self, client: &ClientIdentity) -> Option<&Arc<Access>> {
        client.subjects().iter().find_map(|subject| self.by_subject.get(subject))
    }

    /// How many certificates there are.
    pub(crate) fn len(&self) -> usize {
        self.by_subject.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_cannot_be_used_is_an_error_that_names_it() {
        let entry = |fields: &str| format!("[[certificate]]\nname = 'a'\nscopes = ['read']\n{fields}\n");
        let twice = entry("subject = 'CN:a'") + &entry("subject = 'CN:b'");
        for (text, expected) in [
            (entry("subject = 'a'"), "certificate \"a\": subject must be URI:..., DNS:... or CN:..."),
            (entry("subject = 'CN:'"), "certificate \"a\": subject must be URI:..., DNS:... or CN:..."),
            (entry("subject = 'CN:a'\nkeys = []"), "certificate \"a\": keys must not be empty"),
            (
                entry("subject = 'CN:a'").replace("'read'", ""),
                "certificate \"a\": scopes must name at least one",
            ),
            (twice.clone(), "certificate \"a\": another certificate has this name"),
            (
                twice.replacen("'a'", "'b'", 1).replace("CN:b", "CN:a"),
                "certificate \"a\": another certificate has this subject",
            ),
            (String::new(), "missing field `certificate`"),
        ] {
            let error = CertificateTable::parse(&text).expect_err(&text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
