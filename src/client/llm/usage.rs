//! The tokens of a call, by what a provider charges for them.

use crate::client::{Amount, ErrorKind};

/// The tokens of a call by type. Each token is of one type, so the sum is the total.
///
/// The fields are those of Anthropic: `input_tokens`, `cache_read_input_tokens`, `cache_creation_input_tokens`,
/// `output_tokens`. OpenAI counts cached and reasoning tokens twice: convert an [`OpenAiUsage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenUsage {
    /// Input that was neither read from a cache nor written to one.
    pub input: u64,
    /// Input that was read from a cache.
    pub cached_input: u64,
    /// Input that was written to a cache.
    pub cache_write_input: u64,
    /// Output without reasoning.
    pub output: u64,
    /// Output that the caller does not see.
    pub reasoning: u64,
}

/// The usage of a call as OpenAI and compatible providers tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the names are those of the provider")]
pub struct OpenAiUsage {
    pub prompt_tokens: u64,
    /// A part of the prompt: `prompt_tokens_details.cached_tokens`.
    pub cached_tokens: u64,
    pub completion_tokens: u64,
    /// A part of the completion: `completion_tokens_details.reasoning_tokens`.
    pub reasoning_tokens: u64,
}

/// Why a usage makes no amounts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UsageError {
    /// A part is larger than the whole.
    #[error("{part} is {part_tokens}, more than {whole}, which is {whole_tokens}")]
    PartAboveWhole {
        /// The name of the part.
        part: &'static str,
        /// Its tokens.
        part_tokens: u64,
        /// The name of the whole.
        whole: &'static str,
        /// Its tokens.
        whole_tokens: u64,
    },
    /// An amount does not fit.
    #[error("the {what} must be at most {}", Amount::MAX.get())]
    TooLarge {
        /// What is too large.
        what: &'static str,
    },
}

impl UsageError {
    /// The kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidRequest
    }

    pub(super) fn too_large(what: &'static str) -> Self {
        Self::TooLarge { what }
    }
}

impl TokenUsage {
    /// All tokens.
    ///
    /// # Errors
    ///
    /// [`UsageError::TooLarge`] above 2^63-1.
    pub fn total(&self) -> Result<u64, UsageError> {
        let Self { input, cached_input, cache_write_input, output, reasoning } = *self;
        sum([input, cached_input, cache_write_input, output, reasoning])
    }

    /// The input that no cache served: what Anthropic counts as input tokens per minute.
    pub(super) fn input_of_no_cache(&self) -> Result<u64, UsageError> {
        sum([self.input, self.cache_write_input])
    }

    /// The output, reasoning included.
    pub(super) fn all_output(&self) -> Result<u64, UsageError> {
        sum([self.output, self.reasoning])
    }
}

/// The most that a call can use, before it is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct TokensMax {
    pub(super) input: u64,
    pub(super) output: u64,
}

impl TokensMax {
    pub(super) fn total(self) -> Result<u64, UsageError> {
        sum([self.input, self.output])
    }
}

fn sum<const N: usize>(tokens: [u64; N]) -> Result<u64, UsageError> {
    let sum = tokens.into_iter().try_fold(0_u64, u64::checked_add);
    sum.filter(|sum| *sum <= Amount::MAX.get()).ok_or(UsageError::too_large("number of tokens"))
}

impl TryFrom<OpenAiUsage> for TokenUsage {
    type Error = UsageError;

    /// Counts each token once.
    ///
    /// # Errors
    ///
    /// [`UsageError::PartAboveWhole`] if there are more cached than prompt tokens, or more reasoning than completion
    /// tokens.
    fn try_from(usage: OpenAiUsage) -> Result<Self, UsageError> {
        let OpenAiUsage { prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens } = usage;
        Ok(Self {
            input: rest(("cached_tokens", cached_tokens), ("prompt_tokens", prompt_tokens))?,
            cached_input: cached_tokens,
            cache_write_input: 0,
            output: rest(("reasoning_tokens", reasoning_tokens), ("completion_tokens", completion_tokens))?,
            reasoning: reasoning_tokens,
        })
    }
}

fn rest(
    (part, part_tokens): (&'static str, u64),
    (whole, whole_tokens): (&'static str, u64),
) -> Result<u64, UsageError> {
    let error = UsageError::PartAboveWhole { part, part_tokens, whole, whole_tokens };
    whole_tokens.checked_sub(part_tokens).ok_or(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_of_openai_counts_each_token_once() {
        let usage = OpenAiUsage {
            prompt_tokens: 100,
            cached_tokens: 60,
            completion_tokens: 50,
            reasoning_tokens: 30,
        };
        let by_type =
            TokenUsage { input: 40, cached_input: 60, output: 20, reasoning: 30, ..Default::default() };
        assert_eq!(TokenUsage::try_from(usage), Ok(by_type));
        assert_eq!(by_type.total(), Ok(150));
    }

    #[test]
    fn a_part_above_the_whole_is_refused() {
        let cached = OpenAiUsage { prompt_tokens: 5, cached_tokens: 6, ..Default::default() };
        let reasoning = OpenAiUsage { completion_tokens: 1, reasoning_tokens: 2, ..Default::default() };
        for (usage, expected) in [
            (cached, "cached_tokens is 6, more than prompt_tokens, which is 5"),
            (reasoning, "reasoning_tokens is 2, more than completion_tokens, which is 1"),
        ] {
            assert_eq!(TokenUsage::try_from(usage).expect_err("refused").to_string(), expected);
        }
    }

    #[test]
    fn a_total_above_the_largest_amount_is_an_error() {
        let largest = TokenUsage { input: Amount::MAX.get(), ..Default::default() };
        assert_eq!(largest.total(), Ok(Amount::MAX.get()));
        for usage in
            [TokenUsage { reasoning: 1, ..largest }, TokenUsage { cached_input: u64::MAX, ..largest }]
        {
            let error = usage.total().expect_err("too large");
            assert_eq!(error.to_string(), "the number of tokens must be at most 9223372036854775807");
        }
    }
}
