//! Packet captures on the socket: what the loop is asked, and what it answers.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;
use vnet_gw_core::{capture::Settings, model::ResourceId};

use super::ErrorReply;
use crate::capture::{Feed, Progress};

/// A capture with how far it is: Azure's `PacketCaptureResult` and `PacketCaptureQueryStatusResult`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaptureRow {
    pub name: String,
    pub id: String,
    /// As Azure has them.
    pub properties: Value,
    pub status: CaptureStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaptureStatus {
    /// `NotStarted`, `Running`, `Stopped` or `Error`.
    pub packet_capture_status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture_start_time: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture_end_time: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<String>,
    /// What went wrong, where something did.
    #[serde(default)]
    pub packet_capture_error: Vec<String>,
    pub packets: u64,
    /// Of the packets, as they were on the wire.
    pub bytes: u64,
    pub bytes_written: u64,
    /// Copies that found no room on their way here.
    pub lost: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CaptureList {
    pub value: Vec<CaptureRow>,
}

/// For the daemon's loop.
#[derive(Debug)]
pub enum CaptureQuestion {
    /// Begins one. The target may be a name.
    Start {
        id: ResourceId,
        settings: Box<Settings>,
        /// Its file must be below the captures' directory.
        confined: bool,
        answer: oneshot::Sender<Result<CaptureRow, ErrorReply>>,
    },
    /// Begins one that somebody reads; it is in no list.
    Stream {
        settings: Box<Settings>,
        feed: Feed,
        answer: oneshot::Sender<Result<(), ErrorReply>>,
    },
    /// Ends one; it stays in the list. What it got to comes when it is over.
    Stop {
        id: ResourceId,
        answer: oneshot::Sender<Result<Option<oneshot::Receiver<Progress>>, ErrorReply>>,
    },
    /// Ends and forgets one; its file stays.
    Delete {
        id: ResourceId,
        answer: oneshot::Sender<Result<Option<oneshot::Receiver<Progress>>, ErrorReply>>,
    },
    List(oneshot::Sender<CaptureList>),
}
