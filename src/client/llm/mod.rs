//! The requirements of a call to a language model.
//!
//! | file | what it is |
//! | --- | --- |
//! | `usage.rs` | the tokens of a call by type |
//! | `price.rs`, `price_table.rs` | what tokens cost; the file with the prices |
//! | `measure.rs` | what a limit counts of a call: tokens of a type, or money |

mod measure;
mod price;
mod price_table;
#[cfg(test)]
mod tests;
mod usage;

use std::fmt;

use super::{Requirements, RequirementsError, escape_segment};
pub use measure::Measure;
pub use price::{Currency, Price};
pub use price_table::{NoPrice, PriceTable, PriceTableError};
use usage::TokensMax;
pub use usage::{OpenAiUsage, TokenUsage, UsageError};

/// Estimates the most tokens that a prompt can have.
///
/// The default counts one token for each byte. No tokenizer makes more tokens than that.
type Estimate = Box<dyn Fn(&str) -> u64 + Send + Sync>;

/// A call to a model of a provider, and the limits that it takes from.
///
/// It takes:
///
/// - 1 request from `global:llm:PROVIDER:MODEL:rpm`;
/// - the most tokens that it can use from `global:llm:PROVIDER:MODEL:tpm`;
/// - 1 slot of `global:llm:PROVIDER:MODEL:concurrency`;
/// - with [`with_daily_tokens`](Self::with_daily_tokens), the same tokens from `tenant:TENANT:llm:daily_tokens`;
/// - with [`with_token_types`](Self::with_token_types), its tokens by type from limits of the model;
/// - with [`with_cost`](Self::with_cost), the most that it can cost from `tenant:TENANT:llm:cost:CURRENCY`.
///
/// One reserve takes all of it or nothing, and one complete settles all of it:
///
/// ```
/// # use std::error::Error;
/// # use std::time::SystemTime;
/// use ledger_limiter::client::{Limiter, LlmCall, OpenAiUsage, PriceTable, Transport};
///
/// # async fn call<T: Transport>(limiter: Limiter<T>, prices: &PriceTable, prompt: &str) -> Result<(), Box<dyn Error>> {
/// let price = prices.price("openai", "gpt-4o", SystemTime::now())?;
/// let call = LlmCall::new("openai", "gpt-4o").with_token_types().with_cost("acme", price);
/// let lease = limiter.acquire(&call.requirements(prompt, 500)?).await?;
/// // What the provider tells after the call.
/// let usage = OpenAiUsage { prompt_tokens: 900, cached_tokens: 800, completion_tokens: 40, reasoning_tokens: 0 };
/// lease.complete(call.actuals_of(&usage.try_into()?)?).await?;
/// # Ok(())
/// # }
/// ```
pub struct LlmCall {
    provider: String,
    model: String,
    limits: Vec<(String, Measure)>,
    prompt_tokens_max: Estimate,
}

impl LlmCall {
    /// A call to a model, without a tenant. Each name becomes one segment of the keys, spelled by [`escape_segment`]: the
    /// model `llama3:8b` has the limit `global:llm:PROVIDER:llama3%3A8b:rpm`.
    pub fn new(provider: &str, model: &str) -> Self {
        let (provider, model) = (escape_segment(provider), escape_segment(model));
        let call = Self { provider, model, limits: Vec::new(), prompt_tokens_max: Box::new(bytes) };
        call.of_model("rpm", Measure::Calls)
            .of_model("tpm", Measure::Tokens)
            .of_model("concurrency", Measure::Calls)
    }

    /// Takes the tokens from the daily budget of a tenant too.
    #[must_use]
    pub fn with_daily_tokens(self, tenant: &str) -> Self {
        let key = format!("tenant:{}:llm:daily_tokens", escape_segment(tenant));
        self.with_limit(key, Measure::Tokens)
    }

    /// Takes the tokens by type too: from `input_tpm`, `cached_input_tpm` and `output_tpm` of the model, beside `tpm`.
    ///
    /// Nobody knows before the call what the provider has cached. So the limits of input and of cached input both reserve
    /// the whole prompt.
    #[must_use]
    pub fn with_token_types(self) -> Self {
        self.of_model("input_tpm", Measure::InputTokens)
            .of_model("cached_input_tpm", Measure::CachedInputTokens)
            .of_model("output_tpm", Measure::OutputTokens)
    }

    /// Takes the cost from the budget of a tenant too, in millionths: from `tenant:TENANT:llm:cost:usd`, if the price is
    /// in USD. The reserve takes the dearest that the call can be, whatever is cached.
    #[must_use]
    pub fn with_cost(self, tenant: &str, price: Price) -> Self {
        let key = format!("tenant:{}:llm:cost:{}", escape_segment(tenant), price.currency().segment());
        self.with_limit(key, Measure::Cost(price))
    }

    /// Takes from a limit of your own too.
    #[must_use]
    pub fn with_limit(mut self, key: impl Into<String>, measure: Measure) -> Self {
        self.limits.push((key.into(), measure));
        self
    }

    /// Replaces the estimate of the tokens of a prompt, for example by a tokenizer. Usage above the estimate becomes overage
    /// of the limits.
    #[must_use]
    pub fn with_estimate(self, prompt_tokens_max: impl Fn(&str) -> u64 + Send + Sync + 'static) -> Self {
        Self { prompt_tokens_max: Box::new(prompt_tokens_max), ..self }
    }

    /// What the call needs before its usage is known. `output_tokens_max` is the longest output, in tokens, reasoning
    /// included.
    ///
    /// # Errors
    ///
    /// [`RequirementsError`] if a key is too long or given twice, or if an estimate is above 2^63-1 or has no tokens at all.
    pub fn requirements(
        &self,
        prompt: &str,
        output_tokens_max: u64,
    ) -> Result<Requirements, RequirementsError> {
        let most = TokensMax { input: (self.prompt_tokens_max)(prompt), output: output_tokens_max };
        let wants: Result<Vec<(&str, u64)>, UsageError> =
            self.limits.iter().map(|(key, measure)| Ok((key.as_str(), measure.most(most)?))).collect();
        Requirements::new(wants?)
    }

    /// The amounts to complete the lease with, for a call that used this many tokens, prompt and output together. A call
    /// with limits of token types or money needs [`actuals_of`](Self::actuals_of): here they keep what was reserved.
    pub fn actuals(&self, tokens: u64) -> impl Iterator<Item = (&str, u64)> {
        self.token_keys().map(move |key| (key, tokens))
    }

    /// The amounts to complete the lease with, for every limit: tokens, tokens by type, and money.
    ///
    /// # Errors
    ///
    /// [`UsageError::TooLarge`] if an amount is above 2^63-1.
    pub fn actuals_of(&self, usage: &TokenUsage) -> Result<Vec<(&str, u64)>, UsageError> {
        self.amounts(|measure| measure.used(usage))
    }

    /// The amounts to extend the lease by, for an output that gets this much longer than expected. They are rounded up, and
    /// the complete settles the exact sum.
    ///
    /// # Errors
    ///
    /// [`UsageError::TooLarge`] if an amount is above 2^63-1.
    pub fn extension(&self, output_tokens: u64) -> Result<Vec<(&str, u64)>, UsageError> {
        let of_output = |measure: Measure| measure.of_output(output_tokens);
        self.amounts(|measure| Ok(of_output(measure)?.filter(|amount| *amount > 0)))
    }

    /// The limits that count all tokens. [`extension`](Self::extension) also has those of output and money.
    pub fn token_keys(&self) -> impl Iterator<Item = &str> {
        let of_tokens = self.limits.iter().filter(|(_, measure)| *measure == Measure::Tokens);
        of_tokens.map(|(key, _)| key.as_str())
    }

    fn amounts<'a>(
        &'a self,
        amount_of: impl Fn(Measure) -> Result<Option<u64>, UsageError>,
    ) -> Result<Vec<(&'a str, u64)>, UsageError> {
        let with_key = |(key, measure): &'a (String, Measure)| {
            let amount = amount_of(*measure).transpose()?;
            Some(amount.map(|amount| (key.as_str(), amount)))
        };
        self.limits.iter().filter_map(with_key).collect()
    }

    fn of_model(self, limit: &str, measure: Measure) -> Self {
        let key = format!("global:llm:{}:{}:{limit}", self.provider, self.model);
        self.with_limit(key, measure)
    }
}

fn bytes(prompt: &str) -> u64 {
    u64::try_from(prompt.len()).unwrap_or(u64::MAX)
}

impl fmt::Debug for LlmCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LlmCall").field("limits", &self.limits).finish_non_exhaustive()
    }
}
