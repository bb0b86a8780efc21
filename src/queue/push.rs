//! What the remote API pushed (`lua/push.lua`): a finished video's URL.

use super::error::QueueError;
use super::handle::RuledQueue;
use super::scripts::{Call, Name};
use super::wire::milliseconds;
use crate::job::JobId;

/// A push. Its texts are as they came: nothing is published of them unless the sender is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// Which job.
    pub id: JobId,
    /// Whose it is; must be the job's.
    pub user_id: String,
    /// Where the video is.
    pub video_url: String,
}

/// How far a push is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushTrust {
    /// Anybody may have sent it.
    Anybody,
    /// The API has sent it.
    Authenticated,
    /// The API has sent it, and its URL is published unseen.
    Accept,
}

impl PushTrust {
    fn as_str(self) -> &'static str {
        match self {
            Self::Anybody => "",
            Self::Authenticated => "authenticated",
            Self::Accept => "accept",
        }
    }
}

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushOutcome {
    /// The job ended with its URL.
    Completed,
    /// The job's next check is due because of it.
    Checked,
    /// A check of the job is due anyway, as soon as one may be made for it.
    Soon,
    /// It is kept until the job's POST is answered.
    Kept,
    /// The job had ended without a video; the URL stands in its record.
    Recorded,
    /// The job had its video before.
    Known,
    /// No POST of the job has begun, so it is of another life of the id.
    Unsent,
    /// It names another user than the job.
    Foreign,
    /// There is no record of the job.
    Unknown,
}

impl PushOutcome {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Completed,
        Self::Checked,
        Self::Soon,
        Self::Kept,
        Self::Recorded,
        Self::Known,
        Self::Unsent,
        Self::Foreign,
        Self::Unknown,
    ];

    /// The script's word, and a metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Checked => "checked",
            Self::Soon => "soon",
            Self::Kept => "kept",
            Self::Recorded => "recorded",
            Self::Known => "known",
            Self::Unsent => "unsent",
            Self::Foreign => "foreign",
            Self::Unknown => "unknown",
        }
    }
}

impl RuledQueue {
    /// Notes what the API pushed: the job's next check is made now, or it ends with the URL
    /// (docs/contract.md, section 8).
    ///
    /// # Errors
    /// What the server answered; repeating the call is safe.
    pub async fn push(&self, push: &Push, trust: PushTrust) -> Result<PushOutcome, QueueError> {
        let call = Call::new(Name::Push, &self.keys, self.now_ms)
            .retention(&self.rules)
            .arg(trust.as_str())
            .arg(milliseconds(self.rules.unconfirmed_grace))
            .arg(push.id.as_str())
            .arg(&push.user_id)
            .arg(&push.video_url);
        let codes: Vec<String> = self.connection.call(&call).await?;
        let code = codes.first().map(String::as_str).unwrap_or_default();
        let outcome = PushOutcome::ALL.into_iter().find(|it| it.as_str() == code);
        outcome.ok_or_else(|| QueueError::Unexpected(format!("push.lua answered {code:?}")))
    }
}
