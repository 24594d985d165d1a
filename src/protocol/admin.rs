//! Admin operations: the bodies and answers of `/v1/admin/limits`. Definitions as JSON are in [`crate::limit::json`].

use serde::{Deserialize, Serialize};

use crate::limit::json::{DefinitionJson, StatusJson};
use crate::limit::{IdError, ReplenishId};

/// The query of `PUT /v1/admin/limits`; it may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ChangeQuery {
    /// Changes the limit only if it has this version; 0 means that no operator has defined it.
    pub if_version: Option<u64>,
}

/// The answer to `PUT /v1/admin/limits` and to `POST /v1/admin/limits/{key}/reset`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct ChangeAnswer {
    /// Always true; failures have another body.
    pub ok: bool,
    /// `decreasing` while a lower capacity waits to be applied.
    pub status: StatusJson,
}

/// The query of `DELETE /v1/admin/limits/{key}`; every part may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct DeleteQuery {
    /// Ends the history of the key, too: a later definition begins without usage and debt.
    pub purge: bool,
    /// Deletes the limit only if it has this version.
    pub if_version: Option<u64>,
}

/// The answer to `DELETE /v1/admin/limits/{key}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct DeleteAnswer {
    /// Always true; failures have another body.
    pub ok: bool,
}

/// The body of `POST /v1/admin/limits/{key}/replenish`; it may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReplenishBody {
    /// A ULID that names the refill, so that it can be repeated; the server makes one if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(value_type = Option<crate::limit::schema::Ulid>))]
    pub replenish_id: Option<String>,
}

/// The body of `POST /v1/admin/limits/{key}/reset`; it may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ResetBody {}

/// The answer to a replenish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct ReplenishAnswer {
    /// Always true; failures have another body.
    pub ok: bool,
    /// Whether the bucket was refilled: false if it is refilled by time, or if the limit is not a bucket.
    pub replenished: bool,
}

/// A limit with its live state and usage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct LimitInfo {
    /// The definition; its capacity is the current one.
    pub definition: DefinitionJson,
    /// Whether a lower capacity waits to be applied.
    pub status: StatusJson,
    /// The capacity that waits, or 0.
    pub pending_decrease_to: u64,
    /// What the ledger says of the limit's use.
    pub usage: UsageBody,
    /// The number of the limit's newest version, for `if_version` of a change; 0 from a service that does not tell.
    #[serde(default)]
    pub version: u64,
}

/// The use of a limit, in its units. For a template: instances it may still make, instances it has made, 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct UsageBody {
    /// What can be reserved now.
    pub available: u128,
    /// What is reserved.
    pub reserved: u128,
    /// Overage that found no room, in total since the limit was made or reset.
    pub debt: u128,
    /// The units that callers wait for at the replica that answers.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub waiting: u128,
    /// Of what is reserved, what the replica that answers holds in allotments for its next callers.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub allotted: u128,
}

fn is_zero(number: &u128) -> bool {
    *number == 0
}

/// The query of `GET /v1/admin/limits`; every part may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ListQuery {
    /// Only keys that begin with this text.
    pub prefix: String,
    /// The instances of this template instead of limits and templates.
    pub template: Option<String>,
    /// Only keys that hold this text somewhere.
    pub contains: String,
    /// Only keys after this one: `next_after` of the page before.
    pub after: String,
    /// The most limits of the page, 1 to 5,000.
    #[cfg_attr(test, schema(minimum = 1, maximum = 5000))]
    pub count: Option<usize>,
}

/// The answer to `GET /v1/admin/limits`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct LimitsAnswer {
    /// Sorted by key.
    pub limits: Vec<LimitInfo>,
    /// The `after` of the next page; empty if this page is the last.
    #[serde(default)]
    pub next_after: String,
}

/// The query of `GET /v1/admin/denials`; every part may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct DenialsQuery {
    /// Only this limit.
    #[cfg_attr(test, schema(value_type = Option<crate::limit::schema::Key>))]
    pub key: Option<String>,
    /// How many minutes to look back, the present one included: 1 to 180, 60 if left out.
    #[cfg_attr(test, schema(minimum = 1, maximum = 180))]
    pub minutes: Option<u64>,
    /// The most limits of the answer: 1 to 2,048, 100 if left out.
    #[cfg_attr(test, schema(minimum = 1, maximum = 2048))]
    pub count: Option<usize>,
}

/// The answer to `GET /v1/admin/denials`: what one replica has seen since its start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct DenialsAnswer {
    /// When the first of the minutes began, in milliseconds since the Unix epoch.
    pub from_unix_ms: u64,
    /// The number of minutes.
    pub minutes: u64,
    /// The limits that denied reserves in these minutes, those that denied most first.
    pub limits: Vec<DeniedBody>,
}

/// How often one limit denied reserves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct DeniedBody {
    /// The limit.
    pub key: String,
    /// In all of the minutes.
    pub total: u64,
    /// In each minute, oldest first. The last minute is not over.
    pub per_minute: Vec<u32>,
}

/// The answer to `GET /v1/admin/limits/{key}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct LimitAnswer {
    /// The limit.
    pub limit: LimitInfo,
}

/// The answer to `GET /v1/admin/limits/{key}/history`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct HistoryAnswer {
    /// Oldest first.
    pub versions: Vec<VersionBody>,
}

/// One version of a limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct VersionBody {
    /// The number of the version; the first is 1.
    pub version: u64,
    /// When the version took effect, in the ledger's milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// `active`, `decreasing`, `deleted` or `retired`.
    pub status: String,
    /// The definition; its capacity is the one in effect.
    pub definition: DefinitionJson,
    /// The capacity that waited to be applied, or 0.
    pub pending_decrease_to: u64,
}

impl ReplenishBody {
    /// The id to refill under; the error begins with the name of the field.
    pub fn into_id(self) -> Result<ReplenishId, String> {
        let parse = |text: String| ReplenishId::parse(&text);
        let id: Result<Option<_>, IdError> = self.replenish_id.map(parse).transpose();
        Ok(id.map_err(|error| format!("replenish_id {error}"))?.unwrap_or_else(ReplenishId::generate))
    }
}
