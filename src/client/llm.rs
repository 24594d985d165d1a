use std::fmt;

use super::{Requirements, RequirementsError};

/// How many tokens a call can take at the most, from its prompt and the most that it may put out.
///
/// The default counts a token for each byte of the prompt: no tokenizer makes more of it.
type Estimate = Box<dyn Fn(&str, u64) -> u64 + Send + Sync>;

/// A call to a model of a provider, as its limits see it.
///
/// It takes one request from `global:llm:PROVIDER:MODEL:rpm`, the tokens that it can take at the most from `...:tpm`, one
/// place of `...:concurrency`, and, with [`LlmCall::with_daily_tokens`], the same tokens from
/// `tenant:TENANT:llm:daily_tokens`.
pub struct LlmCall {
    rpm: String,
    tpm: String,
    concurrency: String,
    daily_tokens: Option<String>,
    tokens_max: Estimate,
}

impl LlmCall {
    /// A call to a model, which takes nothing of a tenant's budget.
    pub fn new(provider: &str, model: &str) -> Self {
        let of_model = |limit: &str| format!("global:llm:{provider}:{model}:{limit}");
        Self {
            rpm: of_model("rpm"),
            tpm: of_model("tpm"),
            concurrency: of_model("concurrency"),
            daily_tokens: None,
            tokens_max: Box::new(bytes_and_output),
        }
    }

    /// It takes its tokens from the daily budget of a tenant too.
    #[must_use]
    pub fn with_daily_tokens(self, tenant: &str) -> Self {
        Self { daily_tokens: Some(format!("tenant:{tenant}:llm:daily_tokens")), ..self }
    }

    /// Estimates otherwise, with a tokenizer, say. What is too low an estimate becomes the limit's debt.
    #[must_use]
    pub fn with_estimate(self, tokens_max: impl Fn(&str, u64) -> u64 + Send + Sync + 'static) -> Self {
        Self { tokens_max: Box::new(tokens_max), ..self }
    }

    /// What it wants, before anybody knows how many tokens it takes.
    pub fn requirements(
        &self,
        prompt: &str,
        output_tokens_max: u64,
    ) -> Result<Requirements, RequirementsError> {
        let tokens = (self.tokens_max)(prompt, output_tokens_max);
        let model = [(&self.rpm, 1), (&self.tpm, tokens), (&self.concurrency, 1)];
        Requirements::new(model.into_iter().chain(self.daily_tokens.iter().map(|key| (key, tokens))))
    }

    /// What it used, to complete its lease with.
    pub fn actuals(&self, tokens: u64) -> impl Iterator<Item = (&str, u64)> {
        self.token_keys().map(move |key| (key, tokens))
    }

    /// The limits that it takes tokens from: those to extend when it goes on for longer than was thought.
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
    fn a_call_takes_from_every_limit_that_it_has() {
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
    fn the_estimate_can_be_replaced() {
        let words = |prompt: &str, output| prompt.split(' ').count() as u64 + output;
        let call = LlmCall::new("openai", "gpt-4o").with_estimate(words);
        assert_eq!(wanted(&call, "three short words", 10)[2].1, 13);
    }

    #[test]
    fn what_is_no_key_or_no_amount_is_refused() {
        assert!(LlmCall::new("open ai", "gpt-4o").requirements("prompt", 1).is_err());
        assert!(LlmCall::new("openai", "gpt-4o").requirements("", 0).is_err());
        assert!(LlmCall::new("openai", "gpt-4o").requirements("prompt", u64::MAX).is_err());
    }
}
