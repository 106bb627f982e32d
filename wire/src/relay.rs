//! Windows of a relay's streams: how many bytes may be on their way. Pure.

use crate::{STREAM_WINDOW, WireError};

/// What the sender of a stream may still send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendWindow(u32);

impl Default for SendWindow {
    fn default() -> Self {
        Self(STREAM_WINDOW)
    }
}

impl SendWindow {
    /// Bytes that may be sent now.
    pub fn left(&self) -> usize {
        self.0 as usize
    }

    /// Notes that `bytes` were sent; the caller has looked at [`SendWindow::left`].
    pub fn spend(&mut self, bytes: usize) {
        self.0 = self.0.saturating_sub(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// The receiver has room for further bytes.
    pub fn grant(&mut self, bytes: u32) -> Result<(), WireError> {
        self.0 = self.0.checked_add(bytes).filter(|sum| *sum <= STREAM_WINDOW).ok_or(WireError::Window)?;
        Ok(())
    }
}

/// What the receiver of a stream has promised to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiveWindow {
    left: u32,
    owed: u32,
}

impl Default for ReceiveWindow {
    fn default() -> Self {
        Self { left: STREAM_WINDOW, owed: 0 }
    }
}

impl ReceiveWindow {
    /// Notes that `bytes` came in; an error if they are more than was promised.
    pub fn accept(&mut self, bytes: usize) -> Result<(), WireError> {
        let bytes = u32::try_from(bytes).map_err(|_| WireError::Window)?;
        self.left = self.left.checked_sub(bytes).ok_or(WireError::Window)?;
        Ok(())
    }

    /// Notes that `bytes` of what came in were passed on; says what to grant the sender now, if it is worth a frame.
    pub fn passed_on(&mut self, bytes: usize) -> Option<u32> {
        self.owed = self.owed.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        if self.owed < STREAM_WINDOW / 4 {
            return None;
        }
        let granted = std::mem::take(&mut self.owed);
        self.left += granted;
        Some(granted)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn more_than_the_window_is_refused() {
        let mut window = ReceiveWindow::default();
        window.accept(STREAM_WINDOW as usize).unwrap();
        assert!(matches!(window.accept(1), Err(WireError::Window)));
    }

    #[test]
    fn a_grant_beyond_the_first_window_is_refused() {
        let mut window = SendWindow::default();
        assert!(window.grant(1).is_err());
        window.spend(10);
        window.grant(10).unwrap();
        assert_eq!(window.left(), STREAM_WINDOW as usize);
    }

    proptest! {
        #[test]
        fn sender_and_receiver_agree(steps in proptest::collection::vec((1usize..40_000, any::<bool>()), 1..400)) {
            let (mut sender, mut receiver) = (SendWindow::default(), ReceiveWindow::default());
            let mut held = 0;
            for (size, pass_on) in steps {
                let size = size.min(sender.left());
                sender.spend(size);
                receiver.accept(size).unwrap();
                held += size;
                if pass_on && let Some(granted) = receiver.passed_on(std::mem::take(&mut held)) {
                    sender.grant(granted).unwrap();
                }
                prop_assert!(held <= STREAM_WINDOW as usize);
            }
            if let Some(granted) = receiver.passed_on(held) {
                sender.grant(granted).unwrap();
            }
            prop_assert!(sender.left() > (STREAM_WINDOW / 2) as usize);
        }
    }
}
