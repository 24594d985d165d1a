//! `answers.*`: what answers tell beside the decision.

use serde::{Deserialize, Serialize};

/// `answers.*`: what answers tell beside the decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnswersSettings {
    /// Whether every answer to a reserve tells what is left of its limits, also if the request does not ask for it.
    pub report: bool,
    /// The headers in which the answers of `/v1/check` tell what is left.
    pub headers: Vec<HeaderForm>,
}

/// A convention for headers about limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeaderForm {
    /// `RateLimit-Policy` and `RateLimit`, as in draft-ietf-httpapi-ratelimit-headers-11.
    Ietf,
    /// `x-ratelimit-limit-requests` and so on, as OpenAI sends them.
    OpenAi,
    /// `anthropic-ratelimit-requests-limit` and so on, as Anthropic sends them.
    Anthropic,
}

impl Default for AnswersSettings {
    fn default() -> Self {
        Self { report: false, headers: vec![HeaderForm::Ietf] }
    }
}
