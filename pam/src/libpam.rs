//! What is used of libpam. The process that loads this module has it loaded already, so nothing is linked here.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;

/// libpam's handle, known by its address only.
#[repr(C)]
pub struct RawHandle {
    _opaque: [u8; 0],
}

type Cleanup = unsafe extern "C" fn(*mut RawHandle, *mut c_void, c_int);

unsafe extern "C" {
    fn pam_get_item(pam: *const RawHandle, item: c_int, value: *mut *const c_void) -> c_int;
    fn pam_get_data(pam: *const RawHandle, name: *const c_char, data: *mut *const c_void) -> c_int;
    fn pam_set_data(
        pam: *mut RawHandle,
        name: *const c_char,
        data: *mut c_void,
        cleanup: Option<Cleanup>,
    ) -> c_int;
    fn pam_syslog(pam: *const RawHandle, priority: c_int, format: *const c_char, ...);
}

const PAM_SUCCESS: c_int = 0;
const PAM_SESSION_ERR: c_int = 14;
const PAM_IGNORE: c_int = 25;
/// Item number of the login name.
const PAM_USER: c_int = 2;
/// Name of what is kept with the handle.
const KEPT: &CStr = c"podspawn_session";
/// Longest line for the log, in characters.
const LONGEST: usize = 500;

/// What the module tells libpam.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Answer {
    /// Done.
    Success,
    /// Not for this module.
    Ignore,
    /// The session is not as it has to be.
    SessionError,
}

impl Answer {
    pub(crate) fn code(self) -> c_int {
        match self {
            Self::Success => PAM_SUCCESS,
            Self::Ignore => PAM_IGNORE,
            Self::SessionError => PAM_SESSION_ERR,
        }
    }
}

/// A handle for the time of one call.
pub(crate) struct Handle(*mut RawHandle);

impl Handle {
    /// # Safety
    /// `pam` came from libpam as the argument of the present call.
    pub(crate) unsafe fn new(pam: *mut RawHandle) -> Self {
        Self(pam)
    }

    /// Login name; none if it is not known.
    pub(crate) fn user(&self) -> Result<Option<&CStr>, c_int> {
        let mut value = ptr::null();
        // SAFETY: the handle is live, and the value is written to a variable of the right type.
        let code = unsafe { pam_get_item(self.0, PAM_USER, &mut value) };
        if code != PAM_SUCCESS {
            return Err(code);
        }
        if value.is_null() {
            return Ok(None);
        }
        // SAFETY: libpam keeps this item as a string until it is set again, which nobody does during this call.
        Ok(Some(unsafe { CStr::from_ptr(value.cast()) }))
    }

    /// Keeps a value until [`Handle::release`], until another one is kept, or until the handle ends.
    pub(crate) fn keep<T>(&self, value: T) -> Result<(), c_int> {
        let data = Box::into_raw(Box::new(value)).cast::<c_void>();
        // SAFETY: the handle is live; `drop_kept::<T>` is the right end of `data`, and libpam calls it once.
        let code = unsafe { pam_set_data(self.0, KEPT.as_ptr(), data, Some(drop_kept::<T>)) };
        if code != PAM_SUCCESS {
            // SAFETY: libpam did not take it, so it is still only ours.
            drop(unsafe { Box::from_raw(data.cast::<T>()) });
            return Err(code);
        }
        Ok(())
    }

    /// Drops what is kept after a last look at it; false if nothing is. `T` is what was given to [`Handle::keep`].
    pub(crate) fn release<T>(&self, last: impl FnOnce(&T)) -> bool {
        let mut data = ptr::null();
        // SAFETY: the handle is live, and the address is written to a variable of the right type.
        let code = unsafe { pam_get_data(self.0, KEPT.as_ptr(), &mut data) };
        if code != PAM_SUCCESS || data.is_null() {
            return false;
        }
        // SAFETY: it came from `keep`, which was given a `T`, and nobody else has it during this call.
        last(unsafe { &*data.cast::<T>() });
        // SAFETY: the handle is live; replacing the value makes libpam end the old one.
        unsafe { pam_set_data(self.0, KEPT.as_ptr(), ptr::null_mut(), Some(drop_kept::<T>)) };
        true
    }

    /// One line for the log of the facility `authpriv`, without control characters whoever wrote its parts.
    pub(crate) fn log(&self, line: &str) {
        let clean = line.chars().map(|c| if c.is_control() { '?' } else { c });
        let shown: String = clean.take(LONGEST).collect();
        let Ok(line) = CString::new(shown) else { return };
        // SAFETY: the handle is live, and the format takes exactly the one string.
        unsafe { pam_syslog(self.0, libc::LOG_WARNING, c"%s".as_ptr(), line.as_ptr()) };
    }
}

/// libpam's call for the end of what [`Handle::keep`] kept.
///
/// # Safety
/// `data` is null or came from `Box::<T>::into_raw` and is used by nobody any more.
unsafe extern "C" fn drop_kept<T>(_pam: *mut RawHandle, data: *mut c_void, _status: c_int) {
    if !data.is_null() {
        // SAFETY: the caller's promise.
        drop(unsafe { Box::from_raw(data.cast::<T>()) });
    }
}
