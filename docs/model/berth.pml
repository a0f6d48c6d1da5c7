/*
 * The wake-up protocol of berth, for the model checker spin.  See README.md.
 *
 * Each slot is one acquire: it comes, sits down or stands in line, holds, and gives back.
 * The pure functions (plan, watch, dependents, ...) are in steps.inc, in C, line by line as in
 * src/sched.  What stands here is the order of things: src/engine/engine.cc.
 */
#include "consts.inc"

byte rec[SLOTS];            /* the directory: state in the record's name */
byte ord[SLOTS];            /* the line: slots in their static order */
byte nline;
byte cap[2];            /* the pool's config */
byte life;              /* mask: lives whose write end is open, bells that are heard */
byte halted;            /* mask: stopped */
byte bell[SLOTS];           /* unread rings */
byte eyes[SLOTS];           /* mask: lives a slot has hold of */
byte hup;               /* mask: a life that the slot has hold of went */
byte timer;             /* mask: will look again in 100 ms */
byte due;               /* mask: and these are over */
byte known[SLOTS*SLOTS];        /* patience_: unread left there; 0: nothing known */
byte aged[SLOTS];           /* mask: known for 100 ms or longer */
byte kdead[SLOTS];          /* known_dead_ */
byte pc[SLOTS];
byte aside;             /* mask: has stepped aside once */
byte evicted;           /* mask: its record was removed, its job runs on */
byte left;              /* mask: gave up waiting */

byte lock = NOBODY;
byte who;               /* scratch of whoever has the lock */
byte what;
byte stage;
byte rings;
byte rung;
byte gone;
byte dead;              /* look.dead */
byte changed;
byte self_after;
bit again;
byte keepers;
bit self_gone;

byte kills = KILLS;
byte stops = STOPS;
byte sets = SETS;
byte evicts = EVICTS;
byte unheard;           /* mask, to check with: a ring has lain unread for 100 ms */
#ifdef UNLOCK_BEFORE_RING
byte later[SLOTS];      /* still to be rung, after the lock was given back */
byte later_set;
#endif
bit overgrant;
bit barged;

c_decl {
\#include "consts.inc"
}
c_code {
\#include "steps.inc"
}

#ifdef CHECK_BARGE      /* who is awake looks before the next place falls free */
#define UNHURRIED  (due == 0 && c_expr { NOBODY_AWAKE })
#else
#define UNHURRIED  true
#endif
#define BIT(m, i)  (((m) >> (i)) & 1)
#define LIVES(i)   (BIT(life, i) && pc[i] != P_DYING)
#define RUNS(i)    (LIVES(i) && !BIT(halted, i))
/* With nobody left to kill or stop, nobody can see the inside of the lock: one step then. */
#ifdef OUTSIDE          /* kills and stops only while nobody has the lock */
#define CALM       true
#define FREE       (lock == NOBODY)
#else
#define CALM       (kills == 0 && stops == 0)
#define FREE       true
#endif

#if defined(IN_ORDER)
#define MAY_COME(i) (i == 0 || c_expr { MAY_COME_NOW })
#else
#define MAY_COME(i) true
#endif

inline critical_section() {
  do
  :: stage == S_RING ->   c_code { step_ring(); };   if :: CALM :: else -> break fi
  :: stage == S_REAP ->   c_code { step_reap(); };   if :: CALM :: else -> break fi
  :: stage == S_COMMIT -> c_code { step_commit(); };
      assert(!overgrant);
      if :: CALM :: else -> break fi
  :: stage == S_UNLOCK -> c_code { step_unlock(); }; break
  od
}

/* After a step that took the lock. */
inline inside() {
  assert(!barged);
  if :: CALM -> critical_section() :: else fi
}

proctype party(byte i) {
end:
  do
  /* acquire(): lock, look */
  :: atomic { pc[i] == P_IDLE && lock == NOBODY && MAY_COME(i) && RUNS(i) ->
      if
      :: true -> c_code { step_look(Pparty->i, 0, 0); }
#ifdef SAMPLE
      :: c_expr { SOME_DEAD } -> c_code { step_look(Pparty->i, 1, 0); }
#endif
      fi; inside() }
  /* wait(): ppoll() returns, the bell is drained */
  :: atomic { pc[i] == P_SLEEP && (bell[i] > 0 || BIT(hup, i) || BIT(due, i)) && RUNS(i) ->
      c_code { step_wake(Pparty->i); } }
#ifdef SLOW
  :: atomic { pc[i] == P_SLEEP && BIT(timer, i) && RUNS(i) -> c_code { step_timer(Pparty->i); } }
#endif
  :: atomic { pc[i] == P_AWAKE && lock == NOBODY && RUNS(i) ->
      c_code { step_look(Pparty->i, 0, 0); }; inside() }
#if LEAVERS
  :: atomic { pc[i] == P_SLEEP && BIT(LEAVERS, i) && lock == NOBODY && RUNS(i) ->
      c_code { step_look(Pparty->i, 0, 1); }; inside() }
#endif
#if ASIDERS
  :: atomic { pc[i] == P_SLEEP && BIT(ASIDERS, i) && !BIT(aside, i) && lock == NOBODY && RUNS(i) ->
      c_code { step_shift(Pparty->i, W_ASIDE); }; inside() }
  :: atomic { pc[i] == P_STEPPED && lock == NOBODY && RUNS(i) -> c_code { step_shift(Pparty->i, W_BACK); }; inside() }
  :: atomic { pc[i] == P_STEPPED && RUNS(i) -> c_code { now.halted |= 1 << Pparty->i; } } /* for ever */
#endif
  /* inside the lock: ring one, reap one, commit, unlock, each a step of its own */
  :: atomic { pc[i] == P_LOCKED && lock == i && RUNS(i) -> critical_section() }
#ifdef UNLOCK_BEFORE_RING
  :: atomic { later[i] != 0 && pc[i] != P_LOCKED && RUNS(i) -> c_code { step_ring_late(&now.later[Pparty->i]); } }
#endif
  /* release() */
  :: atomic { pc[i] == P_HOLD && lock == NOBODY && UNHURRIED && RUNS(i) -> c_code { step_release(Pparty->i); }; inside() }
  :: atomic { pc[i] == P_HOLD && BIT(STAYERS & RELEASERS, i) && RUNS(i) -> pc[i] = P_STAY }
  :: atomic { pc[i] == P_CLOSE && RUNS(i) -> c_code { step_close(Pparty->i); } }
  :: atomic { pc[i] == P_DYING -> c_code { step_close(Pparty->i); } }
  od
}

/* SIGKILL, anywhere. */
proctype killer() {
  do
  :: atomic { kills > 0 && FREE -> c_code { now.kills--; };
      if
      :: lock == SETTER || lock == EVICTOR -> c_code { drop_lock(); }
      :: LIVES(0) && BIT(MAYKILL, 0) && pc[0] != P_IDLE -> c_code { step_kill(0); }
#if SLOTS > 1
      :: LIVES(1) && BIT(MAYKILL, 1) && pc[1] != P_IDLE -> c_code { step_kill(1); }
#endif
#if SLOTS > 2
      :: LIVES(2) && BIT(MAYKILL, 2) && pc[2] != P_IDLE -> c_code { step_kill(2); }
#endif
#if SLOTS > 3
      :: LIVES(3) && BIT(MAYKILL, 3) && pc[3] != P_IDLE -> c_code { step_kill(3); }
#endif
#if SLOTS > 4
      :: LIVES(4) && BIT(MAYKILL, 4) && pc[4] != P_IDLE -> c_code { step_kill(4); }
#endif
#if SLOTS > 5
      :: LIVES(5) && BIT(MAYKILL, 5) && pc[5] != P_IDLE -> c_code { step_kill(5); }
#endif
#if SLOTS > 6
      :: LIVES(6) && BIT(MAYKILL, 6) && pc[6] != P_IDLE -> c_code { step_kill(6); }
#endif
      :: else -> kills = 0
      fi }
  :: atomic { kills = 0; break }
  od
}

/* SIGSTOP and SIGCONT, anywhere. A slot that was stopped outside the lock may stay so for ever. */
#ifdef STOP_WAITERS
#define MEANT(i) (rec[i] == R_WAIT && lock != i)
#else
#define MEANT(i) true
#endif
#define STOPPABLE(i) (LIVES(i) && MEANT(i) && !BIT(halted, i) && BIT(MAYSTOP, i) && pc[i] != P_IDLE && pc[i] != P_DONE)
proctype stopper() {
  do
  :: atomic { stops > 0 && FREE ->
      if
      :: STOPPABLE(0) -> c_code { step_stop(0); }
#if SLOTS > 1
      :: STOPPABLE(1) -> c_code { step_stop(1); }
#endif
#if SLOTS > 2
      :: STOPPABLE(2) -> c_code { step_stop(2); }
#endif
#if SLOTS > 3
      :: STOPPABLE(3) -> c_code { step_stop(3); }
#endif
#if SLOTS > 4
      :: STOPPABLE(4) -> c_code { step_stop(4); }
#endif
#if SLOTS > 5
      :: STOPPABLE(5) -> c_code { step_stop(5); }
#endif
#if SLOTS > 6
      :: STOPPABLE(6) -> c_code { step_stop(6); }
#endif
      :: else -> stops = 0
      fi }
#ifndef NO_CONT
  :: atomic { halted != 0 -> c_code { now.halted = 0; } }
#endif
  :: atomic { stops = 0; break }
  od
}

/* Whoever was stopped inside the lock goes on some time: nothing can be done without. */
proctype fate() {
end:
  do
  :: atomic { lock < SLOTS && halted != 0 && c_expr { OWNER_HALTED } ->
      c_code { now.halted &= ~(1 << now.lock); } }
  od
}

#ifndef SLOW
/* 100 ms go by. An awake process acts within them: so only when nothing can move. */
proctype hundred_ms() {
end:
  do
  :: atomic { lock == NOBODY && c_expr { TIME_MAY_PASS } -> c_code { step_time(); } }
  od
}
#endif

#if SETS
proctype setter() {
  do
  :: atomic { sets > 0 && lock == NOBODY -> c_code { step_set(); } }
  :: atomic { lock == SETTER -> critical_section() }
#ifdef UNLOCK_BEFORE_RING
  :: atomic { later_set != 0 && lock != SETTER -> c_code { step_ring_late(&now.later_set); } }
  :: atomic { later_set != 0 && lock != SETTER && kills > 0 -> kills = kills - 1; later_set = 0 }
  :: atomic { sets == 0 && lock != SETTER && later_set == 0 -> break }
#else
  :: atomic { sets == 0 && lock != SETTER -> break }
#endif
  od
}
#endif
#if EVICTS
proctype evictor() {
  do
  :: atomic { evicts > 0 && lock == NOBODY && c_expr { SOME_EVICTABLE } -> c_code { step_evict(); } }
  :: atomic { lock == EVICTOR -> critical_section() }
  :: atomic { lock != EVICTOR -> evicts = 0; break }
  od
}
#endif

#ifdef AGAIN
/* Slot SERVED comes again and again, like all the others; whenever it waits, it is served. */
ltl served { [] ((rec[SERVED] == R_WAIT) -> <> (rec[SERVED] != R_WAIT || ((life >> SERVED) & 1) == 0)) }
#endif

/* Nothing can move any more: does anybody sleep who could sit? */
proctype judge() {
  timeout -> assert(c_expr { NOBODY_FORGOTTEN })
}

init {
  atomic {
    c_code { set_up(); };
    run party(0);
#if SLOTS > 1
    run party(1);
#endif
#if SLOTS > 2
    run party(2);
#endif
#if SLOTS > 3
    run party(3);
#endif
#if SLOTS > 4
    run party(4);
#endif
#if SLOTS > 5
    run party(5);
#endif
#if SLOTS > 6
    run party(6);
#endif
#if KILLS
    run killer();
#endif
#if STOPS
    run stopper();
    run fate();
#endif
#ifndef SLOW
    run hundred_ms();
#endif
#if SETS
    run setter();
#endif
#if EVICTS
    run evictor();
#endif
    run judge();
  }
}
