//! The requirements of a call to a language model.

use std::fmt;

use super::{Requirements, RequirementsError, escape_segment};

/// Estimates the most tokens that a call can use, from its prompt and its longest output.
///
/// The default counts one token for each byte of the prompt. No tokenizer makes more tokens than that.
type Estimate = Box<dyn Fn(&str, u64) -> u64 + Send + Sync>;

/// A call to a model of a provider, and the limits that it takes from.
///
/// It takes:
///
/// - 1 request from `global:llm:PROVIDER:MODEL:rpm`;
/// - the most tokens that it can use from `global:llm:PROVIDER:MODEL:tpm`;
/// - 1 slot of `global:llm:PROVIDER:MODEL:concurrency`;
/// - with [`with_daily_tokens`](Self::with_daily_tokens), the same tokens from `tenant:TENANT:llm:daily_tokens`.
pub struct LlmCall {
    rpm: String,
    tpm: String,
    concurrency: String,
    daily_tokens: Option<String>,
    tokens_max: Estimate,
}

impl LlmCall {
    /// A call to a model, without a tenant. Each name becomes one segment of the keys, spelled by [`escape_segment`]: the
    /// model `llama3:8b` has the limit `global:llm:PROVIDER:llama3%3A8b:rpm`.
    pub fn new(provider: &str, model: &str) -> Self {
        let (provider, model) = (escape_segment(provider), escape_segment(model));
        let of_model = |limit: &str| format!("global:llm:{provider}:{model}:{limit}");
        Self {
            rpm: of_model("rpm"),
            tpm: of_model("tpm"),
            concurrency: of_model("concurrency"),
            daily_tokens: None,
            tokens_max: Box::new(bytes_and_output),
        }
    }

    /// Takes the tokens from the daily budget of a tenant too.
    #[must_use]
    pub fn with_daily_tokens(self, tenant: &str) -> Self {
        Self { daily_tokens: Some(format!("tenant:{}:llm:daily_tokens", escape_segment(tenant))), ..self }
    }

    /// Replaces the estimate of the tokens, for example by a tokenizer. Its arguments are the prompt and the longest
    /// output in tokens. Usage above the estimate becomes overage of the limits.
    #[must_use]
    pub fn with_estimate(self, tokens_max: impl Fn(&str, u64) -> u64 + Send + Sync + 'static) -> Self {
        Self { tokens_max: Box::new(tokens_max), ..self }
    }

    /// What the call needs before its usage is known. `output_tokens_max` is the longest output, in tokens.
    ///
    /// # Errors
    ///
    /// [`RequirementsError`] if a name is so long that the keys are too long, or the estimate is 0 or above 2^63-1.
    pub fn requirements(
        &self,
        prompt: &str,
        output_tokens_max: u64,
    ) -> Result<Requirements, RequirementsError> {
        let tokens = (self.tokens_max)(prompt, output_tokens_max);
        let model = [(&self.rpm, 1), (&self.tpm, tokens), (&self.concurrency, 1)];
        Requirements::new(model.into_iter().chain(self.daily_tokens.iter().map(|key| (key, tokens))))
    }

    /// The amounts to complete the lease with, for a call that used this many tokens, prompt and output together.
    pub fn actuals(&self, tokens: u64) -> impl Iterator<Item = (&str, u64)> {
        self.token_keys().map(move |key| (key, tokens))
    }

    /// The limits that tokens are taken from. Extend these when the output gets longer than expected.
    pub fn token_keys(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.tpm.as_str()).chain(self.daily_tokens.as_deref())
    }
}

fn bytes_and_output(prompt: &str, output_tokens_max: u64) -> u64 {
    u64::try_from(prompt.len()).unwrap_or(u64::MAX).saturating_add(output_tokens_max)
}

impl fmt::Debug for LlmCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tpm, daily_tokens, .. } = self;
        f.debug_struct("LlmCall")
            .field("tpm", tpm)
            .field("daily_tokens", daily_tokens)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(call: &LlmCall, prompt: &str, output_tokens_max: u64) -> Vec<(String, u64)> {
        let requirements = call.requirements(prompt, output_tokens_max).expect("valid");
        requirements.list().iter().map(|wants| (wants.key.to_string(), wants.amount.get())).collect()
    }

    #[test]
    fn a_call_takes_from_the_limits_of_its_model_and_tenant() {
        let call = LlmCall::new("openai", "gpt-4o");
        let of_model = |limit: &str, amount| (format!("global:llm:openai:gpt-4o:{limit}"), amount);
        let model = [of_model("concurrency", 1), of_model("rpm", 1), of_model("tpm", 106)];
        assert_eq!(wanted(&call, "Grüß", 100), model);
        let call = call.with_daily_tokens("acme");
        let daily = ("tenant:acme:llm:daily_tokens".to_owned(), 106);
        assert_eq!(wanted(&call, "Grüß", 100), [&model[..], &[daily]].concat());
        let actuals: Vec<_> = call.actuals(42).collect();
        assert_eq!(actuals, [("global:llm:openai:gpt-4o:tpm", 42), ("tenant:acme:llm:daily_tokens", 42)]);
    }

    #[test]
    fn a_name_fills_one_segment() {
        let call = LlmCall::new("open router", "llama3:8b").with_daily_tokens("user:ann");
        let keys: Vec<&str> = call.token_keys().collect();
        assert_eq!(keys, ["global:llm:open%20router:llama3%3A8b:tpm", "tenant:user%3Aann:llm:daily_tokens"]);
        assert!(call.requirements("prompt", 1).is_ok());
    }

    #[test]
    fn the_estimate_can_be_replaced() {
        let words = |prompt: &str, output| prompt.split(' ').count() as u64 + output;
        let call = LlmCall::new("openai", "gpt-4o").with_estimate(words);
        assert_eq!(wanted(&call, "three short words", 10)[2].1, 13);
    }

    #[test]
    fn bad_names_and_amounts_are_refused() {
        assert!(LlmCall::new("openai", &"m".repeat(256)).requirements("prompt", 1).is_err());
        assert!(LlmCall::new("openai", "gpt-4o").requirements("", 0).is_err());
        assert!(LlmCall::new("openai", "gpt-4o").requirements("prompt", u64::MAX).is_err());
    }
}
