//! A metric: what it is called, how it is read, and its series.

use metrics::{
    Counter, Gauge, Histogram, Label, counter, describe_counter, describe_gauge,
    describe_histogram, gauge, histogram,
};

/// A metric of a worker.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// How it is to be read.
    pub kind: MetricKind,
    /// The names of its labels, without `queue`, which all have.
    pub labels: &'static [&'static str],
    /// What it tells: its HELP.
    pub help: &'static str,
    /// The series that are there from the start.
    pub(super) known: &'static [Product],
}

/// How a metric is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// A total since the process began.
    Counter,
    /// A value of this moment.
    Gauge,
    /// How often a duration was within which bounds.
    Histogram,
}

/// The values of each label, in the order of the labels: every combination of them is a series.
pub(super) type Product = &'static [&'static [&'static str]];

impl Metric {
    /// Describes it and shows the series that are known, with zero; of a histogram, without an
    /// observation.
    pub(super) fn begin(&self) {
        let Self { name, help, .. } = *self;
        match self.kind {
            MetricKind::Counter => describe_counter!(name, help),
            MetricKind::Gauge => describe_gauge!(name, help),
            MetricKind::Histogram => describe_histogram!(name, help),
        }
        // To ask for a series is enough: the recorder shows it from then on.
        for values in self.known.iter().flat_map(|product| combinations(product)) {
            match self.kind {
                MetricKind::Counter => drop(self.counter(&values)),
                MetricKind::Gauge => drop(self.gauge(&values)),
                MetricKind::Histogram => drop(self.histogram(&values)),
            }
        }
    }

    /// Says of a gauge that its values are not known.
    pub(super) fn unknown(&self) {
        for values in self.known.iter().flat_map(|product| combinations(product)) {
            self.gauge(&values).set(f64::NAN);
        }
    }

    pub(super) fn counter(&self, values: &[&'static str]) -> Counter {
        counter!(self.name, self.labelled(values))
    }

    pub(super) fn gauge(&self, values: &[&'static str]) -> Gauge {
        gauge!(self.name, self.labelled(values))
    }

    /// The series of a label that only time tells.
    pub(super) fn gauge_of(&self, value: &str) -> Gauge {
        let with_value = |label: &&'static str| Label::new(*label, value.to_owned());
        gauge!(self.name, self.labels.iter().map(with_value).collect::<Vec<_>>())
    }

    pub(super) fn histogram(&self, values: &[&'static str]) -> Histogram {
        histogram!(self.name, self.labelled(values))
    }

    fn labelled(&self, values: &[&'static str]) -> Vec<Label> {
        debug_assert!(
            self.knows(values),
            "{} has no series {values:?} from the start: name it in its table",
            self.name
        );
        let labels = self.labels.iter().zip(values);
        labels.map(|(label, value)| Label::from_static_parts(label, value)).collect()
    }

    /// Whether this series is there from the start, or none can be.
    pub(super) fn knows(&self, values: &[&str]) -> bool {
        let fits = |product: &Product| {
            product.iter().zip(values).all(|(among, value)| among.contains(value))
        };
        values.len() == self.labels.len() && (self.known.is_empty() || self.known.iter().any(fits))
    }
}

/// Every way to take one value of each label.
fn combinations(product: Product) -> Vec<Vec<&'static str>> {
    product.iter().fold(vec![Vec::new()], |begun, values| {
        let with_each =
            |begin: Vec<_>| values.iter().map(move |value| [&begin[..], &[*value]].concat());
        begun.into_iter().flat_map(with_each).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combinations_take_one_value_of_each_label() {
        assert_eq!(combinations(&[]), [Vec::<&str>::new()]);
        let all = combinations(&[&["a", "b"], &["x", "y"]]);
        assert_eq!(all, [["a", "x"], ["a", "y"], ["b", "x"], ["b", "y"]]);
    }
}
