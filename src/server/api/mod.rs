//! The HTTP API. A handler parses the body into a command, runs the command, and writes the outcome as an answer with
//! a status. It decides nothing about limits. An endpoint and its batch share one file.

mod admin;
mod answer;
mod asked;
mod batch;
mod carried_out;
mod check;
mod circuit;
mod complete;
mod denied_status;
mod extend;
mod guard;
mod hand_on;
mod health;
mod json;
mod left;
mod metrics;
mod objects;
mod openapi;
mod path;
mod refusal;
mod reject;
mod renew;
mod request_log;
mod reserve;
mod ui;
mod uncached;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post, put};

pub use super::body::BODY_BYTES_MAX;
use carried_out::carried_out;
#[cfg(test)]
pub(crate) use check::{CheckQuery, accepts_problems};
pub use circuit::Circuit;
pub use guard::Gate;
use guard::Guarded;
pub use health::Readiness;
#[cfg(feature = "otlp")]
pub(super) use metrics::text as metrics_text;
#[cfg(not(feature = "grpc"))]
use reject::Reject;
#[cfg(feature = "grpc")]
pub(super) use reject::Reject;
pub(super) use reject::{too_many_headers, too_much_unread};
use uncached::{any_uncached, get_uncached};
#[cfg(feature = "grpc")]
pub(super) use {
    carried_out::ToItsEnd,
    complete::settle,
    guard::{Authorized, ToReserve},
    refusal::{Forbidden, Refusal},
    request_log::layer as log_requests,
    reserve::decide,
};

use super::config::AnswersSettings;
use super::{Metrics, Peers};
use crate::engine::Engine;
use crate::ledger::Ledger;
use crate::limit::LimitKey;

/// How the paths for operators begin.
pub(super) const ADMIN_PATH: &str = "/v1/admin/";

/// The state that the handlers share.
pub struct Api<L> {
    /// The limiter and its registry.
    pub engine: Arc<Engine<L>>,
    /// What decides whether a request is let in.
    pub gate: Gate,
    /// Whether requests can be answered.
    pub readiness: Readiness<L>,
    /// How long a request may take before its outcome is unknown.
    pub request_timeout: Duration,
    /// The most items of a batch.
    pub batch_requests_max: usize,
    /// The limits whose usage `GET /metrics` shows.
    pub shown_limits: Vec<LimitKey>,
    /// Whether the web page for operators is served.
    pub serves_ui: bool,
    /// What answers tell beside the decision.
    pub answers: AnswersSettings,
    /// Refuses requests while the ledger does not answer.
    pub circuit: Circuit,
    /// The connections to other replicas.
    pub peers: Peers,
    /// The counters of the API.
    pub metrics: Metrics,
}

impl<L: Ledger> Api<L> {
    /// The state of an API that is not ready yet: with a request timeout of 2 seconds, batches of 256, metrics of no single
    /// limit, and the web page.
    pub fn new(engine: Arc<Engine<L>>, gate: Gate, mut metrics: Metrics) -> Self {
        metrics.show_emergency_grants(engine.limiter().emergency_counts());
        metrics.show_waiting(engine.limiter().waiting_counts());
        metrics.show_allotments(engine.limiter().allotment_counts());
        metrics.show_registry_writes(engine.registry().save_counts());
        Self {
            gate,
            readiness: Readiness::new(Arc::clone(engine.ledger()), engine.operator_account()),
            engine,
            request_timeout: Duration::from_secs(2),
            batch_requests_max: 256,
            shown_limits: Vec::new(),
            serves_ui: true,
            answers: AnswersSettings::default(),
            circuit: Circuit::new(&metrics),
            peers: Peers::default(),
            metrics,
        }
    }
}

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Everything, for the only listener.
    Everybody,
    /// Reserves, extends, renewals, completes and objects. What an operator does is for another listener.
    Callers,
    /// What an operator does: limits, rates of objects, metrics, the web page.
    Operators,
}

/// The routes of the API over `api` for `audience`. Everybody can ask for the health and for the document
/// of the API.
///
/// Once a request that may change something is read, it is carried out, even if its connection ends.
/// Requests are logged only if the subscriber enables debug lines at the time of this call.
pub fn router<L: Ledger>(api: Arc<Api<L>>, audience: Audience) -> Router {
    let router = Router::new()
        .route("/healthz", get_uncached(health::healthz))
        .route("/readyz", get_uncached(health::readyz))
        .route("/openapi.json", get_uncached(openapi::openapi));
    let router = match audience {
        Audience::Everybody => for_operators(for_callers(router), &api),
        Audience::Callers => for_callers(router),
        Audience::Operators => for_operators(router, &api),
    };
    let router = router
        .fallback(async || Reject::NoRoute)
        .method_not_allowed_fallback(async || Reject::WrongMethod { allow: None })
        .with_state(Guarded::new(api));
    request_log::layer(router)
}

fn for_callers<L: Ledger>(router: Router<Guarded<L>>) -> Router<Guarded<L>> {
    router
        .route("/v1/reserve", post(carried_out(reserve::one)))
        .route("/v1/reserve/batch", post(carried_out(reserve::batch)))
        .route("/v1/extend", post(carried_out(extend::one)))
        .route("/v1/renew", post(carried_out(renew::one)))
        .route("/v1/complete", post(carried_out(complete::one)))
        .route("/v1/complete/batch", post(carried_out(complete::batch)))
        // Proxies ask with GET, or with the method of the request that they have.
        .route("/v1/check/{*key}", any_uncached(carried_out(check::check)))
        .route(
            "/v1/objects/{*path}",
            get_uncached(objects::get).post(carried_out(objects::post)).fallback(objects::wrong_method),
        )
}

fn for_operators<L: Ledger>(router: Router<Guarded<L>>, api: &Api<L>) -> Router<Guarded<L>> {
    let router = router
        .route("/v1/admin/limits", get_uncached(admin::list).put(carried_out(admin::put)))
        .route(
            "/v1/admin/limits/{*key}",
            get_uncached(admin::get)
                .delete(carried_out(admin::delete))
                .post(carried_out(admin::post))
                .fallback(admin::wrong_method),
        )
        .route("/v1/admin/denials", get_uncached(admin::denials))
        .route("/v1/admin/replicas", get_uncached(admin::replicas))
        // The rate of an object is a definition, as those of limits are.
        .route("/v1/objects/{*path}", put(carried_out(objects::put)))
        .route("/metrics", get_uncached(metrics::metrics));
    if !api.serves_ui {
        return router;
    }
    router.route("/ui", get(ui::folder)).route("/ui/", get(ui::index)).route("/ui/{*name}", get(ui::file))
}

impl<L: Ledger> Api<L> {
    /// Waits until the definitions are read, and for `answer`, at most [`Api::request_timeout`].
    ///
    /// # Errors
    ///
    /// The error of `answer`; [`Reject::TimedOut`]; or [`Reject::LedgerAway`] at once, while the circuit is open.
    pub(super) async fn in_time<T, E: Into<Reject>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Reject> {
        self.in_time_after(Duration::ZERO, answer).await
    }

    /// The same, of an `answer` that may wait for room for so long.
    pub(super) async fn in_time_after<T, E: Into<Reject>>(
        &self,
        wait: Duration,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Reject> {
        let circuit = &self.circuit;
        if !circuit.lets_pass() {
            return Err(Reject::LedgerAway);
        }
        let mut answer = pin!(async {
            self.readiness.bootstrapped().await;
            answer.await
        });
        // The memory ledger answers at the first poll, so its requests need no timer.
        let at_once = poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await;
        let answer = match at_once {
            Poll::Ready(answer) => Ok(answer),
            Poll::Pending => tokio::time::timeout(self.request_timeout + wait, answer).await,
        };
        let answer = answer.map_or(Err(Reject::TimedOut), |answer| answer.map_err(Into::into));
        match &answer {
            Err(reject) if reject.is_without_ledger() => {
                circuit.failed();
                self.engine.limiter().ledger_failed();
            }
            // It tells nothing about the ledger.
            Err(Reject::HungUp) => {}
            Ok(_) | Err(_) => {
                if circuit.answered() {
                    self.engine.limiter().ledger_answered();
                }
            }
        }
        answer
    }
}
