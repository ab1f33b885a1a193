//! `vnet-gw connection-monitor`

use anyhow::{Result, bail};

use super::{
    Verdict,
    args::{Cli, ConnectionMonitorArgs, ConnectionMonitorCommand, OutputFormat},
    output, source,
    table::{Left, Right, Table},
};
use crate::control::{MonitorList, MonitorRow, Request, Response};

pub(super) fn run(cli: &Cli, args: &ConnectionMonitorArgs) -> Result<Verdict> {
    let all = source::ask(cli, Request::ConnectionMonitors {}, |answer| match answer {
        Response::ConnectionMonitors(list) => Some(list),
        _ => None,
    })?;
    match &args.command {
        ConnectionMonitorCommand::List => match cli.output {
            OutputFormat::Json => output::json(&all)?,
            OutputFormat::Table => output::print(&list_text(&all.value))?,
        },
        ConnectionMonitorCommand::Show(name) => {
            let one = named(&all, &name.name)?;
            match cli.output {
                OutputFormat::Json => output::json(one)?,
                OutputFormat::Table => output::print(&list_text(std::slice::from_ref(one)))?,
            }
        }
        ConnectionMonitorCommand::Query(name) => {
            let one = named(&all, &name.name)?;
            match cli.output {
                OutputFormat::Json => output::json(&one.tests)?,
                OutputFormat::Table => output::print(&states_text(one))?,
            }
        }
    }
    Ok(Verdict::Good)
}

fn named<'a>(all: &'a MonitorList, name: &str) -> Result<&'a MonitorRow> {
    let called = |one: &&MonitorRow| {
        one.name.eq_ignore_ascii_case(name) || one.id.eq_ignore_ascii_case(name)
    };
    let found: Vec<&MonitorRow> = all.value.iter().filter(called).collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => bail!("connection monitor {name:?}: there is none of that name"),
        _ => bail!("connection monitor {name:?}: there are several of that name; use the id"),
    }
}

fn latency(milliseconds: Option<f64>) -> String {
    milliseconds.map_or_else(|| "-".to_owned(), |one| format!("{one:.3}"))
}

fn list_text(monitors: &[MonitorRow]) -> String {
    let mut table = Table::new(&[
        ("NAME", Left),
        ("STATUS", Left),
        ("SOURCE", Left),
        ("DESTINATION", Left),
        ("CONFIGURATION", Left),
        ("STATE", Left),
        ("SENT", Right),
        ("FAILED", Right),
        ("RTT/MS", Right),
    ]);
    for monitor in monitors {
        for test in &monitor.tests {
            let state = test.states.last();
            table.row([
                monitor.name.clone(),
                monitor.monitoring_status.clone(),
                test.source_name.clone(),
                test.destination_name.clone(),
                test.test_configuration_name.clone(),
                state.map_or_else(|| "-".to_owned(), |state| state.connection_state.clone()),
                output::grouped(test.probes_sent),
                output::grouped(test.probes_failed),
                latency(test.last_round_trip_in_ms),
            ]);
        }
    }
    match table.is_empty() {
        true => "no connection monitors\n".to_owned(),
        false => table.text(),
    }
}

fn states_text(monitor: &MonitorRow) -> String {
    let mut table = Table::new(&[
        ("SOURCE", Left),
        ("DESTINATION", Left),
        ("CONFIGURATION", Left),
        ("STATE", Left),
        ("FROM", Left),
        ("TO", Left),
        ("SENT", Right),
        ("FAILED", Right),
        ("MIN/MS", Right),
        ("AVG/MS", Right),
        ("MAX/MS", Right),
        ("REASON", Left),
    ]);
    for test in &monitor.tests {
        for state in &test.states {
            table.row([
                test.source_name.clone(),
                test.destination_name.clone(),
                test.test_configuration_name.clone(),
                state.connection_state.clone(),
                state.start_time.clone(),
                state.end_time.clone(),
                output::grouped(state.probes_sent),
                output::grouped(state.probes_failed),
                latency(state.min_latency_in_ms),
                latency(state.avg_latency_in_ms),
                latency(state.max_latency_in_ms),
                state.reason.clone().unwrap_or_default(),
            ]);
        }
    }
    match table.is_empty() {
        true => "nothing was tried yet\n".to_owned(),
        false => table.text(),
    }
}
