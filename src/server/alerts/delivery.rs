//! Posts queued events one after another, so that the receiver gets them in order.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::AlertsError;
use super::counts::Counts;
use super::webhook::{Answer, Webhook};
use crate::limiter::Alert;
use crate::server::config::AlertsSettings;
use crate::telemetry::Occurrences;

/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long a stop waits for the events that are queued.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

static REFUSED: Occurrences = Occurrences::new();
static GAVE_UP: Occurrences = Occurrences::new();
static FAILED: Occurrences = Occurrences::new();

/// The task that posts events. End it with [`Delivery::finish`].
pub(in crate::server) struct Delivery {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

/// What the task needs.
struct Worker {
    webhook: Webhook,
    counts: Counts,
    attempts_max: u32,
    first_pause: Duration,
    /// Whether the service stops: then nothing pauses any more.
    stops: watch::Receiver<bool>,
}

impl Delivery {
    pub(super) fn start(
        settings: &AlertsSettings,
        waiting: mpsc::Receiver<Alert>,
        counts: Counts,
    ) -> Result<Self, AlertsError> {
        let (stop, stops) = watch::channel(false);
        let worker = Worker {
            webhook: Webhook::new(settings)?,
            counts,
            attempts_max: settings.webhook_attempts_max,
            first_pause: Duration::from_millis(settings.webhook_retry_ms),
            stops,
        };
        Ok(Self { task: tokio::spawn(worker.run(waiting)), stop })
    }

    /// Posts the queued events once more, for a second at most.
    pub(in crate::server) async fn finish(mut self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(STOP_TIMEOUT, &mut self.task).await.is_err() {
            self.task.abort();
            tracing::warn!("alerts that wait for the webhook are lost, because the service stops");
        }
    }
}

impl Worker {
    async fn run(mut self, mut waiting: mpsc::Receiver<Alert>) {
        while let Some(alert) = self.next(&mut waiting).await {
            self.deliver(&alert).await;
        }
    }

    /// The next event; `None` if none is queued and the service stops.
    async fn next(&mut self, waiting: &mut mpsc::Receiver<Alert>) -> Option<Alert> {
        tokio::select! {
            biased;
            alert = waiting.recv() => alert,
            () = stopped(&mut self.stops) => None,
        }
    }

    async fn deliver(&mut self, alert: &Alert) {
        match self.post_until_taken(alert).await {
            Answer::Taken => self.counts.delivered.inc(),
            Answer::Refused(status) => {
                if let Some(times) = REFUSED.count() {
                    tracing::error!(
                        times, host = self.webhook.host(), status = status.as_u16(), key = %alert.key,
                        "the receiver of alerts refused one; the last of so many"
                    );
                }
                self.counts.refused.inc()
            }
            Answer::TryAgain(reason) => {
                if let Some(times) = GAVE_UP.count() {
                    tracing::error!(
                        times, host = self.webhook.host(), reason, key = %alert.key,
                        "the receiver of alerts did not take one, and it is given up; the last of so many"
                    );
                }
                self.counts.gave_up.inc()
            }
        };
        self.counts.queued.dec();
    }

    /// The last answer: the first that is final, or that of the last attempt.
    async fn post_until_taken(&mut self, alert: &Alert) -> Answer {
        let mut pause = self.first_pause;
        let mut attempt = 1;
        loop {
            let answer = self.webhook.post(alert).await;
            let Answer::TryAgain(reason) = &answer else { return answer };
            let is_last = attempt >= self.attempts_max || *self.stops.borrow();
            if is_last {
                return answer;
            }
            if let Some(times) = FAILED.count() {
                tracing::warn!(
                    times,
                    host = self.webhook.host(),
                    reason,
                    "the receiver of alerts did not take one; trying again; the last of so many"
                );
            }
            // A stop ends the pause. Then one more attempt follows.
            let _stopped = tokio::time::timeout(jittered(pause), stopped(&mut self.stops)).await;
            pause = (pause * 2).min(PAUSE_MAX);
            attempt += 1;
            self.counts.retries.inc();
        }
    }
}

async fn stopped(stops: &mut watch::Receiver<bool>) {
    // An error says that nobody can stop the task any more: the service ends.
    let _ended = stops.wait_for(|stops| *stops).await.is_err();
}

/// The pause, shortened by up to a fifth, so that replicas do not meet at a receiver that comes back.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.8..=1.0))
}
