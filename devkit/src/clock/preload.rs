//! Preloaded into a process: its wall clock is wrong by as many seconds as the file says that `DEVKIT_WALL_CLOCK` names.
//!
//! Everything else about time is the system's: the monotonic clock, timers, waiting. Nothing here allocates, since an
//! allocator may itself ask for the time.

use std::ffi::{c_char, c_int, c_long, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI64, AtomicPtr, Ordering};

#[cfg(target_arch = "x86_64")]
const SYS_CLOCK_GETTIME: c_long = 228;
#[cfg(target_arch = "aarch64")]
const SYS_CLOCK_GETTIME: c_long = 113;
const CLOCK_REALTIME: c_int = 0;
const CLOCK_REALTIME_COARSE: c_int = 5;
const O_RDONLY: c_int = 0;
const PROT_READ: c_int = 1;
const MAP_SHARED: c_int = 1;
const FAILED: isize = -1;

#[repr(C)]
pub struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

#[repr(C)]
pub struct Timeval {
    seconds: i64,
    microseconds: i64,
}

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn getenv(name: *const c_char) -> *const c_char;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn mmap(
        at: *mut c_void,
        length: usize,
        protection: c_int,
        flags: c_int,
        file: c_int,
        offset: i64,
    ) -> *mut c_void;
}

static NO_OFFSET: AtomicI64 = AtomicI64::new(0);
static OFFSET: AtomicPtr<AtomicI64> = AtomicPtr::new(null_mut());

fn offset() -> i64 {
    let mut mapped = OFFSET.load(Ordering::Acquire);
    if mapped.is_null() {
        // Two threads may both do so: either mapping serves.
        mapped = map();
        OFFSET.store(mapped, Ordering::Release);
    }
    unsafe { &*mapped }.load(Ordering::SeqCst)
}

fn map() -> *mut AtomicI64 {
    let otherwise = (&raw const NO_OFFSET).cast_mut();
    unsafe {
        let path = getenv(c"DEVKIT_WALL_CLOCK".as_ptr());
        if path.is_null() {
            return otherwise;
        }
        let file = open(path, O_RDONLY);
        if file < 0 {
            return otherwise;
        }
        let mapped = mmap(null_mut(), size_of::<i64>(), PROT_READ, MAP_SHARED, file, 0);
        if mapped as isize == FAILED {
            otherwise
        } else {
            mapped.cast()
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int {
    let answer = unsafe { syscall(SYS_CLOCK_GETTIME, c_long::from(clock), time) };
    if answer == 0 && matches!(clock, CLOCK_REALTIME | CLOCK_REALTIME_COARSE) {
        unsafe { (*time).seconds += offset() };
    }
    if answer == 0 { 0 } else { -1 }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(time: *mut Timeval, _zone: *mut c_void) -> c_int {
    let mut now = Timespec {
        seconds: 0,
        nanoseconds: 0,
    };
    let answer = unsafe { clock_gettime(CLOCK_REALTIME, &raw mut now) };
    if !time.is_null() {
        unsafe {
            *time = Timeval {
                seconds: now.seconds,
                microseconds: now.nanoseconds / 1_000,
            }
        };
    }
    answer
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn time(out: *mut i64) -> i64 {
    let mut now = Timespec {
        seconds: 0,
        nanoseconds: 0,
    };
    unsafe { clock_gettime(CLOCK_REALTIME, &raw mut now) };
    if !out.is_null() {
        unsafe { *out = now.seconds };
    }
    now.seconds
}
