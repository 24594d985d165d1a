//! What a limit counts of a call.

use super::price::Price;
use super::usage::{TokenUsage, TokensMax, UsageError};

/// What a limit counts of a call to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Measure {
    /// The call itself: a request, or a slot.
    Calls,
    /// All tokens.
    Tokens,
    /// Input tokens, without those that were read from a cache.
    InputTokens,
    /// Input tokens that were read from a cache.
    CachedInputTokens,
    /// Output tokens, reasoning included.
    OutputTokens,
    /// The cost, in millionths of the currency of the price.
    Cost(Price),
}

impl Measure {
    /// What to reserve before the call. Nobody knows yet what the provider has cached, so each limit of input reserves all.
    pub(super) fn most(self, tokens: TokensMax) -> Result<u64, UsageError> {
        // A reservation is of one unit at least: a limit that the call names must hold something of it to be settled.
        match self {
            Self::Calls => Ok(1),
            Self::Tokens => tokens.total(),
            Self::InputTokens | Self::CachedInputTokens => Ok(tokens.input.max(1)),
            Self::OutputTokens => Ok(tokens.output.max(1)),
            Self::Cost(price) => price.most_micros(tokens).map(|micros| micros.max(1)),
        }
    }

    /// What was used, to complete with; `None` for what is known from the start.
    pub(super) fn used(self, usage: &TokenUsage) -> Result<Option<u64>, UsageError> {
        match self {
            Self::Calls => return Ok(None),
            Self::Tokens => usage.total(),
            Self::InputTokens => usage.input_of_no_cache(),
            Self::CachedInputTokens => Ok(usage.cached_input),
            Self::OutputTokens => usage.all_output(),
            Self::Cost(price) => price.cost_micros(usage),
        }
        .map(Some)
    }

    /// What more output takes; `None` for what it does not change.
    pub(super) fn of_output(self, output_tokens: u64) -> Result<Option<u64>, UsageError> {
        match self {
            Self::Calls | Self::InputTokens | Self::CachedInputTokens => Ok(None),
            Self::Tokens | Self::OutputTokens => Ok(Some(output_tokens)),
            Self::Cost(price) => price.most_micros(TokensMax { input: 0, output: output_tokens }).map(Some),
        }
    }
}
