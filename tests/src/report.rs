//! What a bench measured: medians and ratios, for people and as JSON.

use std::{
    fmt::{self, Write as _},
    fs,
    path::Path,
};

use anyhow::{Context, Result};
use serde::Serialize;

/// One thing measured of one subject, over all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub name: String,
    pub subject: String,
    pub unit: &'static str,
    pub median: f64,
    pub values: Vec<f64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Ratio {
    pub name: String,
    pub value: f64,
    /// What it has to reach, where something was promised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bar: Option<Bar>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bar {
    AtLeast(f64),
    Below(f64),
}

impl Bar {
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bar) => value >= bar,
            Self::Below(bar) => value < bar,
        }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bar) => write!(f, "[{bar}]"),
            Self::Below(bar) => write!(f, "[< {bar}]"),
        }
    }
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub rows: Vec<Row>,
    pub ratios: Vec<Ratio>,
}

impl Report {
    /// Adds a value of one round.
    pub fn add(&mut self, name: &str, subject: &str, unit: &'static str, value: f64) {
        let found = self
            .rows
            .iter_mut()
            .find(|row| row.name == name && row.subject == subject);
        match found {
            Some(row) => {
                row.values.push(value);
                row.median = median(&row.values);
            }
            None => self.rows.push(Row {
                name: name.to_owned(),
                subject: subject.to_owned(),
                unit,
                median: value,
                values: vec![value],
            }),
        }
    }

    pub fn row(&self, name: &str, subject: &str) -> Option<&Row> {
        self.rows
            .iter()
            .find(|row| row.name == name && row.subject == subject)
    }

    /// `above` over `below` in the row `name`, where both were measured: the median of the ratios
    /// of each round, since what disturbs the machine disturbs neighbours in time alike.
    pub fn ratio(&mut self, ratio: &str, name: &str, above: &str, below: &str) {
        let (Some(above), Some(below)) = (self.row(name, above), self.row(name, below)) else {
            return;
        };
        let each: Vec<f64> = above
            .values
            .iter()
            .zip(&below.values)
            .map(|(above, below)| above / below)
            .collect();
        let value = median(&each);
        self.ratios.push(Ratio {
            name: ratio.to_owned(),
            value,
            bar: None,
        });
    }

    /// Says what a ratio has to reach, where it was measured.
    pub fn bar(&mut self, ratio: &str, bar: Bar) {
        for one in self.ratios.iter_mut().filter(|one| one.name == ratio) {
            one.bar = Some(bar);
        }
    }

    pub fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{:<28} {:<16} {:>10} {:>10} {:>10}  unit",
            "measurement", "subject", "median", "min", "max"
        );
        for row in &self.rows {
            let low = row.values.iter().copied().fold(f64::INFINITY, f64::min);
            let high = row.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let _ = writeln!(
                text,
                "{:<28} {:<16} {:>10} {:>10} {:>10}  {}",
                row.name,
                row.subject,
                digits(row.median),
                digits(low),
                digits(high),
                row.unit
            );
        }
        if !self.ratios.is_empty() {
            let _ = writeln!(text, "\n{:<39} {:>10}", "ratio", "value");
            for ratio in &self.ratios {
                let _ = write!(text, "{:<39} {:>10}", ratio.name, digits(ratio.value));
                if let Some(bar) = ratio.bar {
                    let missed = if bar.holds(ratio.value) {
                        ""
                    } else {
                        " missed"
                    };
                    let _ = write!(text, "  {bar}{missed}");
                }
                text.push('\n');
            }
        }
        text
    }

    pub fn write_json(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self).context("writing JSON")?;
        text.push('\n');
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }
}

/// Three significant digits, more or less.
pub fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// The middle value; of two, their mean.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}
