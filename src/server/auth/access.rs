//! Access: what a caller may do, however it was authenticated.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{KeyPattern, Scope, Scopes};
use crate::limit::LimitKey;

/// What the holder of a token or a certificate may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Names the holder in logs.
    pub name: String,
    /// The requests that it may make.
    pub scopes: Scopes,
    /// The limits that it may name in them.
    pub keys: AllowedKeys,
    /// When the access ends, in seconds since the Unix epoch; `None` if it does not end.
    pub expires_unix_seconds: Option<u64>,
}

/// The keys that a caller may use, see and change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedKeys {
    /// Every key.
    All,
    /// The keys that match one of these patterns.
    Matching(Vec<KeyPattern>),
}

/// Who makes a request. Cloning it is cheap.
#[derive(Debug, Clone)]
pub enum Caller {
    /// Anybody, because the service does not authenticate callers: everything is allowed.
    Anyone,
    /// The holder of an access.
    Known(Arc<Access>),
}

impl Access {
    /// Whether the access has ended.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.expires_unix_seconds.is_some_and(|expires| {
            // A clock before 1970 tells nothing, and an access that may have ended is refused.
            let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::MAX);
            since_epoch.as_secs() >= expires
        })
    }
}

impl AllowedKeys {
    /// Whether a key is allowed. A template is allowed if all keys of its form are.
    pub fn allows(&self, key: &LimitKey) -> bool {
        match self {
            Self::All => true,
            Self::Matching(patterns) => patterns.iter().any(|pattern| pattern.matches(key)),
        }
    }
}

impl Caller {
    /// Whether the caller may make requests of this scope.
    pub fn has(&self, scope: Scope) -> bool {
        match self {
            Self::Anyone => true,
            Self::Known(access) => access.scopes.contains(scope),
        }
    }

    /// Whether the caller may use, see and change this limit.
    pub fn may_use(&self, key: &LimitKey) -> bool {
        match self {
            Self::Anyone => true,
            Self::Known(access) => access.keys.allows(key),
        }
    }

    /// Whether the caller may use all limits, so that no key needs a check.
    pub fn may_use_all(&self) -> bool {
        match self {
            Self::Anyone => true,
            Self::Known(access) => access.keys == AllowedKeys::All,
        }
    }

    /// Names the caller in logs.
    pub fn name(&self) -> &str {
        match self {
            Self::Anyone => "",
            Self::Known(access) => &access.name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_ends_at_its_second() {
        let access = |expires_unix_seconds| Access {
            name: "test".to_owned(),
            scopes: Scopes::all(),
            keys: AllowedKeys::All,
            expires_unix_seconds,
        };
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        for (expires, now, is_expired) in [
            (None, at(u64::MAX / 4), false),
            (Some(100), at(99), false),
            (Some(100), at(100), true),
            (Some(100), at(101), true),
            (Some(100), UNIX_EPOCH - Duration::from_secs(1), true),
        ] {
            assert_eq!(access(expires).is_expired(now), is_expired, "{expires:?} {now:?}");
        }
    }

    #[test]
    fn no_pattern_allows_no_key() {
        let key = LimitKey::parse("a").expect("a key");
        assert!(!AllowedKeys::Matching(Vec::new()).allows(&key));
        assert!(AllowedKeys::All.allows(&key));
    }
}
