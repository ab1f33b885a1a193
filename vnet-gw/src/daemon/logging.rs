//! Log lines on stderr.

use std::{fmt::Display, io::Write, time::SystemTime};

use clap::ValueEnum;
use log::{Level, LevelFilter};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Time, level and message.
    #[default]
    Text,
    /// An object a line: time, level, target, message.
    Json,
}

/// Starts logging. `filter` is a level, or levels by module, `info,aya=debug`.
pub fn init(format: LogFormat, filter: &str) {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(LevelFilter::Warn).parse_filters(filter);
    builder.format(move |out, record| {
        let time = humantime::format_rfc3339_millis(SystemTime::now());
        let message = record.args();
        match format {
            LogFormat::Text => writeln!(out, "{}", text(&time, record.level(), message)),
            LogFormat::Json => {
                writeln!(out, "{}", json(&time, record.level(), record.target(), message))
            }
        }
    });
    // A second start in one process, as in tests, keeps the first one's.
    let _ = builder.try_init();
}

fn text(time: &impl Display, level: Level, message: &impl Display) -> String {
    // One event is one line, whatever an error's text holds.
    let message = message.to_string().replace('\n', "; ");
    match level {
        Level::Info => format!("{time} {message}"),
        Level::Warn => format!("{time} warning: {message}"),
        Level::Error => format!("{time} error: {message}"),
        Level::Debug => format!("{time} debug: {message}"),
        Level::Trace => format!("{time} trace: {message}"),
    }
}

fn json(time: &impl Display, level: Level, target: &str, message: &impl Display) -> String {
    serde_json::json!({
        "time": time.to_string(),
        "level": level.as_str().to_ascii_lowercase(),
        "target": target,
        "message": message.to_string(),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        assert_eq!(text(&"T", Level::Error, &"a\nb"), "T error: a; b");
        assert_eq!(
            json(&"T", Level::Info, "vnet_gw", &"a\n\"b\""),
            r#"{"time":"T","level":"info","target":"vnet_gw","message":"a\n\"b\""}"#
        );
    }
}
