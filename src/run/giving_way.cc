#include "run/giving_way.h"

namespace berth {

GivingWay::Deeds GivingWay::begin(int64_t now_us) {
  deadline_us_ = now_us + rules_.grace_us;
  wanted_ = true;
  hook_succeeded_ = false;
  if (rules_.hook) {
    stage_ = Stage::hook;
    return {Deed::start_hook};
  }
  stage_ = rules_.signal ? Stage::signalled : Stage::told;
  if (rules_.signal) return {Deed::send_signal};
  return {};
}

GivingWay::Deeds GivingWay::settle() {
  stage_ = Stage::settled;
  if (hook_succeeded_) return {Deed::come_back};
  return {};
}

GivingWay::Deeds GivingWay::time_is_over(int64_t now_us) {
  Deeds deeds;
  if (stage_ == Stage::hook) deeds.push_back(Deed::stop_hook);
  if (!wanted_) {
    for (const Deed deed : settle()) deeds.push_back(deed);
    return deeds;
  }
  if (rules_.hook && rules_.signal && stage_ != Stage::signalled) {
    stage_ = Stage::signalled;
    deadline_us_ = now_us + rules_.grace_us;
    deeds.push_back(Deed::send_signal);
    return deeds;
  }
  stage_ = rules_.preemptible ? Stage::ending : Stage::unheeded;
  deeds.push_back(rules_.preemptible ? Deed::end_command : Deed::give_up);
  if (!rules_.preemptible && hook_succeeded_) deeds.push_back(Deed::come_back);
  return deeds;
}

GivingWay::Deeds GivingWay::on(Event event, int64_t now_us) {
  if (event == Event::asked || event == Event::let_off) wanted_ = event == Event::asked;
  switch (stage_) {
    case Stage::settled:
      if (event == Event::asked) return begin(now_us);
      break;
    case Stage::told:
    case Stage::signalled:
      if (event == Event::let_off) return settle();
      break;
    case Stage::unheeded:
      if (event == Event::let_off) stage_ = Stage::settled;
      break;
    case Stage::hook:
      if (event != Event::hook_succeeded && event != Event::hook_failed) break;
      hook_succeeded_ = event == Event::hook_succeeded;
      if (!wanted_) return settle();
      if (rules_.proves) {
        stage_ = Stage::proving;
        return {Deed::prove};
      }
      if (!hook_succeeded_) return after_failed_hook(now_us);
      stage_ = Stage::giving;
      return {Deed::give};
    case Stage::proving:
      if (event == Event::let_off) return settle();
      if (event != Event::memory_free) break;
      stage_ = Stage::giving;
      return {Deed::give};
    case Stage::giving:
      if (event == Event::nobody_asks) return settle();
      if (event == Event::gave) stage_ = Stage::away;
      break;
    case Stage::away:
      if (event == Event::back) return settle();
      break;
    case Stage::ending: break;
  }
  return {};
}

GivingWay::Deeds GivingWay::after_failed_hook(int64_t now_us) {
  stage_ = Stage::told;  // the hook is over, so there is none to stop
  return time_is_over(now_us);
}

GivingWay::Deeds GivingWay::at(int64_t now_us) {
  if (due_us() < 0 || now_us < due_us()) return {};
  return time_is_over(now_us);
}

int64_t GivingWay::due_us() const {
  switch (stage_) {
    case Stage::told:
    case Stage::hook:
    case Stage::proving:
    case Stage::giving:
    case Stage::signalled: return deadline_us_;
    default: return -1;
  }
}

bool GivingWay::yielding() const { return due_us() >= 0 || stage_ == Stage::ending; }

bool GivingWay::would_end_by_it() const { return yielding() && stage_ != Stage::told; }

}  // namespace berth
