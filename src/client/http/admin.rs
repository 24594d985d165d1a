//! What an operator does over HTTP: reads, defines and deletes limits. The token needs the scope `read`, and `admin` for
//! changes.

use hyper::Method;
use serde::de::DeserializeOwned;

use super::answer::{AttemptError, read_success};
use super::{Http, in_path, json};
use crate::client::{
    CallError, Capacity, Definition, DefinitionError, ErrorKind, IntoDefinition, IntoLimitKey, LimitInfo,
    LimitKey, LimitStatus, LimitVersion, LimitsOf, Usage,
};
use crate::limit::json::{DefinitionJson, StatusJson};
use crate::limit::{ExpectedVersion, ReplenishId};
use crate::protocol::{
    self, ChangeAnswer, DeleteAnswer, HistoryAnswer, LimitAnswer, LimitsAnswer, ReplenishAnswer,
    ReplenishBody, ResetBody, VersionBody,
};

const LIMITS_PATH: &str = "/v1/admin/limits";
/// The limits of one page. With the longest keys and texts they take less than half of the longest answer that is read.
const PAGE_LIMITS: usize = 1_000;

impl Http {
    /// A limit or a template, with its usage; `None` if there is none of this key.
    pub async fn limit(&self, key: impl IntoLimitKey) -> Result<Option<LimitInfo>, CallError> {
        self.read_limit(&key.into_definition_key()?).await?.map(limit_info).transpose()
    }

    /// The limits and templates, or the instances of one template, sorted by key.
    ///
    /// They are read in pages, so a change that is made meanwhile may be in the result or not.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnknownKey`] if there is no such template.
    pub async fn limits(&self, of: &LimitsOf) -> Result<Vec<LimitInfo>, CallError> {
        let mut limits = Vec::new();
        let mut after = String::new();
        loop {
            let page: LimitsAnswer = self.admin(Method::GET, &page_path(of, &after), String::new()).await?;
            for limit in page.limits {
                limits.push(limit_info(limit)?);
            }
            // An answer whose next page begins where this one did would be asked for forever.
            if page.next_after <= after {
                return Ok(limits);
            }
            after = page.next_after;
        }
    }

    /// Creates a limit or a template, or changes it to this definition, if it has the expected version. A limit that
    /// already is as the definition says is left as it is, whatever its version.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::VersionConflict`] if somebody else has changed the limit; [`ErrorKind::KindChange`] if it has
    /// another kind; [`ErrorKind::TooManyInstances`] if a template has created more instances than it would be allowed to.
    pub async fn put_limit(
        &self,
        limit: impl IntoDefinition,
        expected: ExpectedVersion,
    ) -> Result<LimitStatus, CallError> {
        let definition = limit.into_definition().map_err(|error| CallError::invalid(error.to_string()))?;
        let body = json(&DefinitionJson::from(&definition))?;
        let path = format!("{LIMITS_PATH}{}", query_of(expected));
        let answer: ChangeAnswer = self.admin(Method::PUT, &path, body).await?;
        Ok(match answer.status {
            StatusJson::Active => LimitStatus::Active,
            StatusJson::Decreasing => LimitStatus::Decreasing { to: definition.capacity },
        })
    }

    /// Deletes a limit or a template, if it has the expected version. Leases that hold it can still be completed. Returns
    /// false if there is no such limit.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::VersionConflict`] if somebody else has changed the limit.
    pub async fn delete_limit(
        &self,
        key: impl IntoLimitKey,
        expected: ExpectedVersion,
    ) -> Result<bool, CallError> {
        let key = key.into_definition_key()?;
        let path = format!("{LIMITS_PATH}/{}{}", in_path(&key), query_of(expected));
        match self.admin::<DeleteAnswer>(Method::DELETE, &path, String::new()).await {
            Ok(DeleteAnswer { ok }) => Ok(ok),
            Err(error) if error.kind() == ErrorKind::UnknownKey => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Every version that a limit had, oldest first, also if it is deleted; empty if there never was one.
    pub async fn history(&self, key: impl IntoLimitKey) -> Result<Vec<LimitVersion>, CallError> {
        let path = format!("{LIMITS_PATH}/{}/history", in_path(&key.into_definition_key()?));
        match self.admin::<HistoryAnswer>(Method::GET, &path, String::new()).await {
            Ok(HistoryAnswer { versions }) => versions.into_iter().map(limit_version).collect(),
            Err(error) if error.kind() == ErrorKind::UnknownKey => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Refills a token bucket that is refilled manually. Returns false if the limit is not such a bucket.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnknownKey`] if there is no such limit.
    pub async fn replenish(&self, key: impl IntoLimitKey) -> Result<bool, CallError> {
        let path = format!("{LIMITS_PATH}/{}/replenish", in_path(&key.into_limit_key()?));
        let body = ReplenishBody { replenish_id: Some(ReplenishId::generate().to_string()) };
        let answer: ReplenishAnswer = self.admin(Method::POST, &path, json(&body)?).await?;
        Ok(answer.replenished)
    }

    /// Sets the usage and the debt of a limit to zero. Leases on it can still be completed, which changes nothing of its usage.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnknownKey`] if there is no such limit.
    pub async fn reset(&self, key: impl IntoLimitKey) -> Result<(), CallError> {
        let path = format!("{LIMITS_PATH}/{}/reset", in_path(&key.into_definition_key()?));
        self.admin::<ChangeAnswer>(Method::POST, &path, json(&ResetBody {})?).await.map(drop)
    }

    /// Deletes a limit or a template for good: its history ends, and a later definition of the key begins without usage and debt.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnknownKey`] if there is no such limit.
    pub async fn purge(&self, key: impl IntoLimitKey) -> Result<(), CallError> {
        let path = format!("{LIMITS_PATH}/{}?purge=true", in_path(&key.into_definition_key()?));
        self.admin::<DeleteAnswer>(Method::DELETE, &path, String::new()).await.map(drop)
    }

    pub(super) async fn read_limit(&self, key: &LimitKey) -> Result<Option<protocol::LimitInfo>, CallError> {
        let path = format!("{LIMITS_PATH}/{}", in_path(key));
        match self.admin::<LimitAnswer>(Method::GET, &path, String::new()).await {
            Ok(answer) => Ok(Some(answer.limit)),
            Err(error) if error.is_unknown_key() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn admin<A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<A, CallError> {
        let (status, answer) = self.exchange(method, path, body).await?;
        read_success(status, &answer)
    }
}

fn query_of(expected: ExpectedVersion) -> String {
    expected.number().map_or_else(String::new, |number| format!("?if_version={number}"))
}

fn page_path(of: &LimitsOf, after: &str) -> String {
    let template = of.template.as_ref().map(|key| format!("&template={}", in_query(key.as_str())));
    format!(
        "{LIMITS_PATH}?count={PAGE_LIMITS}&prefix={}&after={}{}",
        in_query(&of.prefix),
        in_query(after),
        template.unwrap_or_default()
    )
}

/// A text in the query of a request.
fn in_query(text: &str) -> String {
    let escaped = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b':' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escaped).collect()
}

fn definition(json: DefinitionJson) -> Result<Definition, CallError> {
    Ok(json.into_definition().map_err(AttemptError::Definition)?)
}

fn limit_info(limit: protocol::LimitInfo) -> Result<LimitInfo, CallError> {
    let status = match limit.status {
        StatusJson::Active => LimitStatus::Active,
        StatusJson::Decreasing => {
            let to = Capacity::new(limit.pending_decrease_to).map_err(DefinitionError::Capacity);
            LimitStatus::Decreasing { to: to.map_err(AttemptError::Definition)? }
        }
    };
    let waiting = limit.usage.waiting;
    let (definition, usage) = (definition(limit.definition)?, Usage::of_body(limit.usage));
    Ok(LimitInfo { definition, status, usage, waiting, version: limit.version })
}

fn limit_version(body: VersionBody) -> Result<LimitVersion, CallError> {
    let VersionBody { version, at_unix_ms, status, definition: json, pending_decrease_to } = body;
    let waits = status == "decreasing";
    let pending_decrease_to = waits.then(|| Capacity::new(pending_decrease_to)).transpose();
    let pending_decrease_to =
        pending_decrease_to.map_err(DefinitionError::Capacity).map_err(AttemptError::Definition)?;
    Ok(LimitVersion { version, at_unix_ms, status, definition: definition(json)?, pending_decrease_to })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_in_a_query() {
        for (text, escaped) in [
            ("tenant:acme:llm", "tenant:acme:llm"),
            ("a+b=c@d/e", "a%2Bb%3Dc%40d%2Fe"),
            ("user%20x", "user%2520x"),
            ("{tenant*}", "%7Btenant%2A%7D"),
            ("a&b#c d", "a%26b%23c%20d"),
        ] {
            assert_eq!(in_query(text), escaped);
        }
    }
}
