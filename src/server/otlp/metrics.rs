//! The text of `GET /metrics` as metrics of OTLP. So both are the same numbers under the same names.
//!
//! The text is OpenMetrics, as `prometheus-client` writes it: every sample behind the `# TYPE` of its family, the samples of a
//! histogram with the same labels one after another, buckets first. Counters and histograms count from the start of the process.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use tokio::runtime::Handle;
use tokio::time::{Interval, MissedTickBehavior};

use super::collector::Collector;
use super::{OtlpError, resource};
use crate::server::config::OtlpSettings;
use crate::telemetry::{Occurrences, with_sources};

static FAILED_EXPORTS: Occurrences = Occurrences::new();

/// Sends the metrics at an interval.
pub(in crate::server) struct MetricsExport {
    collector: Collector,
    interval: Duration,
    started: SystemTime,
}

impl MetricsExport {
    /// `None` if the settings ask for no metrics.
    pub(in crate::server) fn new(
        settings: &OtlpSettings,
        runtime: Handle,
    ) -> Result<Option<Self>, OtlpError> {
        if !settings.is_on() || settings.metrics_interval_ms == 0 {
            return Ok(None);
        }
        let interval = Duration::from_millis(settings.metrics_interval_ms);
        let collector = Collector::new(settings, runtime)?;
        Ok(Some(Self { collector, interval, started: SystemTime::now() }))
    }

    /// The moments at which metrics are to be sent, the first one at once.
    pub(in crate::server) fn ticks(&self) -> Interval {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }

    /// Sends the text of `GET /metrics`. What does not reach the collector is not sent again: the next export has newer sums.
    pub(in crate::server) async fn send(&self, text: &str) {
        let request = export_request(text, unix_ns(self.started), unix_ns(SystemTime::now()));
        let failure = match self.collector.post("v1/metrics", request.encode_to_vec()).await {
            Ok(status) if status.is_success() => return,
            Ok(status) => format!("it answered {status}"),
            Err(error) => with_sources(&*error).to_string(),
        };
        if let Some(times) = FAILED_EXPORTS.count() {
            tracing::warn!(times, failure, "the metrics did not reach the collector");
        }
    }
}

fn unix_ns(time: SystemTime) -> u64 {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}

fn export_request(text: &str, started_ns: u64, now_ns: u64) -> ExportMetricsServiceRequest {
    let metrics = families(text).into_iter().map(|family| family.metric(started_ns, now_ns)).collect();
    let attributes =
        resource().iter().map(|(name, value)| attribute(name.as_str(), &value.as_str())).collect();
    let scope = InstrumentationScope { name: "ratelimiterd".to_owned(), ..Default::default() };
    let of_scope = ScopeMetrics { scope: Some(scope), metrics, ..Default::default() };
    let of_resource = ResourceMetrics {
        resource: Some(Resource { attributes, ..Default::default() }),
        scope_metrics: vec![of_scope],
        ..Default::default()
    };
    ExportMetricsServiceRequest { resource_metrics: vec![of_resource] }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..Default::default() }
}

/// A metric with all of its samples.
#[derive(Debug, Default, PartialEq)]
struct Family<'a> {
    name: &'a str,
    kind: &'a str,
    unit: &'a str,
    help: &'a str,
    samples: Vec<Sample<'a>>,
}

#[derive(Debug, PartialEq)]
struct Sample<'a> {
    /// What follows the name of the family: `_total`, `_bucket`, ...
    suffix: &'a str,
    /// Without `le`.
    labels: Vec<(&'a str, String)>,
    /// The upper bound of a bucket.
    le: Option<f64>,
    value: f64,
}

fn families(text: &str) -> Vec<Family<'_>> {
    let mut families: Vec<Family<'_>> = Vec::new();
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# ") {
            let mut words = described.splitn(3, ' ');
            let (Some(what), Some(name)) = (words.next(), words.next()) else { continue };
            let rest = words.next().unwrap_or("");
            if families.last().is_none_or(|family| family.name != name) {
                families.push(Family { name, ..Family::default() });
            }
            let Some(family) = families.last_mut() else { continue };
            match what {
                "HELP" => family.help = rest,
                "TYPE" => family.kind = rest,
                "UNIT" => family.unit = rest,
                _ => {}
            }
        } else if let Some(family) = families.last_mut() {
            family.samples.extend(sample(line, family.name));
        }
    }
    families.retain(|family| !family.samples.is_empty());
    families
}

fn sample<'a>(line: &'a str, family: &str) -> Option<Sample<'a>> {
    // An exemplar follows behind ` # `.
    let line = line.split(" # ").next()?;
    let (described, value) = line.rsplit_once(' ')?;
    let (name, labels) = match described.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (described, ""),
    };
    let mut labels = split_labels(labels);
    let le = labels.iter().position(|(name, _)| *name == "le").map(|index| labels.remove(index).1);
    let le = le.map(|bound| bound.parse().unwrap_or(f64::INFINITY));
    Some(Sample { suffix: name.strip_prefix(family)?, labels, le, value: value.parse().ok()? })
}

/// The labels of `a="1",b="2"`. In a value `\\`, `\"` and `\n` stand for one character.
fn split_labels(mut text: &str) -> Vec<(&str, String)> {
    let mut labels = Vec::new();
    while let Some((name, rest)) = text.split_once("=\"") {
        let (mut value, mut chars) = (String::new(), rest.chars());
        while let Some(character) = chars.next() {
            match character {
                '"' => break,
                '\\' => value.extend(chars.next().map(|escaped| if escaped == 'n' { '\n' } else { escaped })),
                _ => value.push(character),
            }
        }
        labels.push((name, value));
        text = chars.as_str().trim_start_matches(',');
    }
    labels
}

impl Family<'_> {
    fn metric(&self, started_ns: u64, now_ns: u64) -> Metric {
        let aggregation_temporality = AggregationTemporality::Cumulative.into();
        let data = match self.kind {
            "counter" => Data::Sum(Sum {
                data_points: self.points(started_ns, now_ns),
                aggregation_temporality,
                is_monotonic: true,
            }),
            "histogram" => Data::Histogram(Histogram {
                data_points: self.histograms(started_ns, now_ns),
                aggregation_temporality,
            }),
            // Gauges, and the constant 1 of an info.
            _ => Data::Gauge(Gauge { data_points: self.points(0, now_ns) }),
        };
        let unit = if self.unit == "seconds" { "s" } else { self.unit };
        let (name, description) = (self.name.to_owned(), self.help.to_owned());
        Metric { name, description, unit: unit.to_owned(), data: Some(data), ..Default::default() }
    }

    fn points(&self, start_time_unix_nano: u64, time_unix_nano: u64) -> Vec<NumberDataPoint> {
        let point = |sample: &Sample<'_>| NumberDataPoint {
            attributes: sample.attributes(),
            start_time_unix_nano,
            time_unix_nano,
            value: Some(Number::AsDouble(sample.value)),
            ..Default::default()
        };
        self.samples.iter().map(point).collect()
    }

    fn histograms(&self, start_time_unix_nano: u64, time_unix_nano: u64) -> Vec<HistogramDataPoint> {
        self.samples
            .chunk_by(|one, next| one.labels == next.labels)
            .map(|samples| HistogramDataPoint {
                attributes: samples.first().map(Sample::attributes).unwrap_or_default(),
                start_time_unix_nano,
                time_unix_nano,
                ..histogram(samples)
            })
            .collect()
    }
}

/// The buckets of the text count all smaller values too, those of OTLP do not.
fn histogram(samples: &[Sample<'_>]) -> HistogramDataPoint {
    let mut point = HistogramDataPoint::default();
    let mut below = 0;
    for sample in samples {
        // Counts are whole and far below 2^53.
        let count = sample.value as u64;
        match (sample.suffix, sample.le) {
            ("_bucket", Some(bound)) => {
                point.bucket_counts.push(count.saturating_sub(below));
                below = count;
                if bound.is_finite() {
                    point.explicit_bounds.push(bound);
                }
            }
            ("_sum", _) => point.sum = Some(sample.value),
            ("_count", _) => point.count = count,
            (_, _) => {}
        }
    }
    point
}

impl Sample<'_> {
    fn attributes(&self) -> Vec<KeyValue> {
        self.labels.iter().map(|(name, value)| attribute(name, value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(text: &str) -> Metric {
        let families = families(text);
        assert_eq!(families.len(), 1, "{families:?}");
        families[0].metric(5, 7)
    }

    #[test]
    fn a_counter_becomes_a_sum_from_the_start() {
        let text = "# HELP calls Calls.\n# TYPE calls counter\ncalls_total{outcome=\"a \\\"b\\\"\",key=\"x,y\"} 3\n# EOF\n";
        let found = metric(text);
        assert_eq!((found.name.as_str(), found.description.as_str()), ("calls", "Calls."));
        let Some(Data::Sum(sum)) = found.data else { panic!("{found:?}") };
        assert!(sum.is_monotonic);
        let point = &sum.data_points[0];
        assert_eq!(point.attributes, [attribute("outcome", "a \"b\""), attribute("key", "x,y")]);
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (5, 7));
        assert_eq!(point.value, Some(Number::AsDouble(3.0)));
    }

    #[test]
    fn the_buckets_of_a_histogram_no_longer_count_smaller_values() {
        let text = "# TYPE took_seconds histogram\n# UNIT took_seconds seconds\n\
            took_seconds_sum{route=\"a\"} 1.5\ntook_seconds_count{route=\"a\"} 6\n\
            took_seconds_bucket{le=\"0.1\",route=\"a\"} 2\ntook_seconds_bucket{le=\"1.0\",route=\"a\"} 5 # {trace_id=\"1\"} 0.7\n\
            took_seconds_bucket{le=\"+Inf\",route=\"a\"} 6\n\
            took_seconds_sum{route=\"b\"} 0.0\ntook_seconds_count{route=\"b\"} 0\n\
            took_seconds_bucket{le=\"0.1\",route=\"b\"} 0\ntook_seconds_bucket{le=\"+Inf\",route=\"b\"} 0\n";
        let found = metric(text);
        assert_eq!(found.unit, "s");
        let Some(Data::Histogram(histogram)) = found.data else { panic!("{found:?}") };
        let [a, b] = histogram.data_points.as_slice() else { panic!("{histogram:?}") };
        assert_eq!(a.attributes, [attribute("route", "a")]);
        assert_eq!((a.count, a.sum), (6, Some(1.5)));
        assert_eq!(
            (a.bucket_counts.as_slice(), a.explicit_bounds.as_slice()),
            ([2, 3, 1].as_slice(), [0.1, 1.0].as_slice())
        );
        assert_eq!((b.count, b.bucket_counts.as_slice()), (0, [0, 0].as_slice()));
    }

    #[test]
    fn a_gauge_and_an_info_are_gauges() {
        for text in ["# TYPE open gauge\nopen 4\n", "# TYPE build info\nbuild_info{version=\"1\"} 1\n"] {
            let found = metric(text);
            let Some(Data::Gauge(gauge)) = found.data else { panic!("{found:?}") };
            assert_eq!(gauge.data_points.len(), 1, "{text}");
        }
    }
}
