// A stand-in for libnvidia-ml.so.1. What it plays, and how it is steered: README.md.
//
// The layouts are those of nvml.h (API 7 to 13), told here a second time and byte by byte, so that a
// mistake in berth's own declarations is not repeated in its test.
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fcntl.h>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace {

enum Code {
  ok = 0,
  uninitialized = 1,
  invalid_argument = 2,
  not_supported = 3,
  not_found = 6,
  insufficient_size = 7,
  driver_not_loaded = 9,
  function_not_found = 13,
};

// --- What is played ------------------------------------------------------------------------------

enum List : unsigned { compute = 1, graphics = 2, mps = 4 };

struct Process {
  unsigned pid = 0;
  uint64_t bytes = ~uint64_t{0};
  unsigned lists = 0;
};

struct Pci {
  unsigned domain = 0, bus = 0, device = 0;
};

struct Link {
  bool active = false;
  unsigned type = 0xff;
  Pci remote;
};

struct Thing {  // a card or a slice
  std::string uuid, name;
  Pci pci;
  bool has_memory = true;
  uint64_t total = 0, used = 0, reserved = 0;
  std::vector<Process> processes;
  int util = -1;
  unsigned mode = 0;
  bool is_mig = false;
  unsigned slots = 7;
  std::map<unsigned, std::unique_ptr<Thing>> slices;
  std::map<unsigned, Link> links;
};

struct Event {
  enum { fail, delay, hang, crash } what = fail;
  std::string call, uuid;
  int code = ok;
  long ms = 0;
};

struct World {
  std::vector<std::unique_ptr<Thing>> cards;
  std::vector<size_t> order;
  std::vector<Event> events;
  size_t entry_bytes = 24;
  bool fill = false;
  std::string holders;
  long linger_ms = 0;
};

std::unique_ptr<World> world;
std::vector<std::unique_ptr<World>> past;  // handles of an earlier nvmlInit are still looked at
int started = 0;

// --- The steering file ---------------------------------------------------------------------------

[[noreturn]] void bad(const std::string& line) {
  std::fprintf(stderr, "STANDIN_NVML: cannot read: %s\n", line.c_str());
  std::abort();
}

uint64_t size_of(const std::string& word, const std::string& line) {
  size_t end = 0;
  uint64_t bytes = 0;
  try {
    bytes = std::stoull(word, &end);
  } catch (const std::exception&) {
    bad(line);
  }
  const size_t power = end == word.size() ? 0 : std::string("KMGT").find(word[end]) + 1;
  if (end + (power > 0) != word.size()) bad(line);
  return bytes << (10 * power);
}

Pci pci_of(const std::string& word, const std::string& line) {
  Pci pci;
  if (std::sscanf(word.c_str(), "%x:%x:%x", &pci.domain, &pci.bus, &pci.device) != 3) bad(line);
  return pci;
}

unsigned list_of(const std::string& word, const std::string& line) {
  if (word == "compute") return compute;
  if (word == "graphics") return graphics;
  if (word != "mps") bad(line);
  return mps;
}

std::string rest_of(std::istringstream& words) {
  std::string rest;
  std::getline(words >> std::ws, rest);
  return rest;
}

Link link_of(std::istringstream& words, const std::string& line) {
  std::string kind, address;
  words >> kind >> address;
  Link link;
  link.active = kind != "inactive";
  if (kind == "gpu") link.type = 0;
  if (kind == "npu") link.type = 1;
  if (kind == "switch") link.type = 2;
  if (kind == "switch" && address.empty()) address = "fffffff:ffff:ff";
  if (link.active) link.remote = pci_of(address, line);
  return link;
}

// One line about a card or slice. False: it is not one.
bool about_thing(const std::string& word, std::istringstream& words, const std::string& line, Thing& thing) {
  std::string a, b, c;
  if (word == "pci") {
    words >> a;
    thing.pci = pci_of(a, line);
  } else if (word == "memory") {
    words >> a >> b >> c;
    thing.has_memory = a != "unsupported";
    if (thing.has_memory) thing.total = size_of(a, line);
    if (!b.empty()) thing.used = size_of(b, line);
    if (!c.empty()) thing.reserved = size_of(c, line);
  } else if (word == "process") {
    Process process;
    words >> process.pid >> a;
    if (a != "unknown") process.bytes = size_of(a, line);
    while (words >> b) process.lists |= list_of(b, line);
    if (process.lists == 0) process.lists = compute;
    thing.processes.push_back(process);
  } else if (word == "util") {
    words >> thing.util;
  } else if (word == "mode") {
    words >> a;
    thing.mode = a == "exclusive" ? 3 : a == "prohibited" ? 2 : 0;
  } else if (word == "mig") {
    words >> a;
    thing.is_mig = a == "on";
  } else if (word == "slots") {
    words >> thing.slots;
  } else if (word == "link") {
    unsigned number = 0;
    words >> number;
    thing.links[number] = link_of(words, line);
  } else {
    return false;
  }
  return true;
}

bool about_world(const std::string& word, std::istringstream& words, World& to) {
  Event event;
  if (word == "order") {
    for (size_t index = 0; words >> index;) to.order.push_back(index);
  } else if (word == "entries") {
    words >> to.entry_bytes;
  } else if (word == "fill") {
    to.fill = true;
  } else if (word == "holders") {
    to.holders = rest_of(words);
  } else if (word == "linger") {
    words >> to.linger_ms;
  } else if (word == "fail") {
    words >> event.call >> event.code >> event.uuid;
    to.events.push_back(event);
  } else if (word == "delay") {
    event.what = Event::delay;
    words >> event.call >> event.ms >> event.uuid;
    to.events.push_back(event);
  } else if (word == "hang" || word == "crash") {
    event.what = word == "hang" ? Event::hang : Event::crash;
    words >> event.call >> event.uuid;
    to.events.push_back(event);
  } else {
    return false;
  }
  return true;
}

// Null: there is no such file.
std::unique_ptr<World> read_world(const char* path) {
  std::ifstream file(path);
  if (!file) return nullptr;
  auto read = std::make_unique<World>();
  Thing* thing = nullptr;
  for (std::string line; std::getline(file, line);) {
    line = line.substr(0, line.find('#'));
    std::istringstream words(line);
    std::string word;
    if (!(words >> word)) continue;
    if (word == "card") {
      thing = read->cards.emplace_back(std::make_unique<Thing>()).get();
      words >> thing->uuid;
      thing->name = rest_of(words);
    } else if (word == "slice") {
      if (read->cards.empty()) bad(line);
      Thing& card = *read->cards.back();
      unsigned slot = 0;
      words >> slot;
      card.is_mig = true;
      card.slices[slot] = std::make_unique<Thing>();
      thing = card.slices[slot].get();
      words >> thing->uuid;
      thing->name = rest_of(words);
      thing->pci = card.pci;
    } else if (!about_world(word, words, *read) && (thing == nullptr || !about_thing(word, words, line, *thing))) {
      bad(line);
    }
  }
  return read;
}

// --- Holders: processes whose memory comes and goes with them ------------------------------------

bool lives(const std::string& pid) {
  std::ifstream file("/proc/" + pid + "/stat");
  std::string stat;
  if (!std::getline(file, stat)) return false;
  const size_t end = stat.rfind(')');
  return end != std::string::npos && end + 2 < stat.size() && stat[end + 2] != 'Z' && stat[end + 2] != 'X';
}

// How long ago the process was first found dead. Remembered beside its file, for every look may be
// another process's.
long dead_for_ms(const std::string& path) {
  const std::string mark = path + ".died";
  const int fd = open(mark.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd >= 0) close(fd);
  struct stat died {};
  if (stat(mark.c_str(), &died) != 0) return 0;
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return (now.tv_sec - died.st_mtim.tv_sec) * 1000 + (now.tv_nsec - died.st_mtim.tv_nsec) / 1000000;
}

struct Held {
  uint64_t bytes = 0;
  std::vector<Process> living;
};

Held held_on(const Thing& thing) {
  Held held;
  if (world->holders.empty()) return held;
  DIR* dir = opendir(world->holders.c_str());
  if (dir == nullptr) return held;
  while (const dirent* entry = readdir(dir)) {
    const std::string pid = entry->d_name;
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string path = world->holders + "/" + pid;
    std::ifstream file(path);
    const bool alive = lives(pid);
    if (!alive && dead_for_ms(path) >= world->linger_ms) continue;
    for (std::string uuid, size; file >> uuid >> size;) {
      if (uuid != thing.uuid) continue;
      const uint64_t bytes = size_of(size, path);
      held.bytes += bytes;
      if (alive) held.living.push_back({static_cast<unsigned>(std::stoul(pid)), bytes, compute});
    }
  }
  closedir(dir);
  return held;
}

// --- Every call ----------------------------------------------------------------------------------

bool fits(const std::string& pattern, const std::string& call, bool on_device) {
  if (pattern == call) return true;
  if (pattern == "*") return on_device && !call.starts_with("nvmlDeviceGetHandleByIndex");
  return call.size() == pattern.size() + 3 && call.starts_with(pattern) && call.compare(pattern.size(), 2, "_v") == 0;
}

// What was steered for this call: it may take its time, and fail.
int enter(const char* call, const Thing* thing) {
  if (world == nullptr) return uninitialized;
  int code = ok;
  for (const Event& event : world->events) {
    if (!fits(event.call, call, thing != nullptr)) continue;
    if (!event.uuid.empty() && (thing == nullptr || thing->uuid != event.uuid)) continue;
    if (event.what == Event::fail) code = event.code;
    if (event.what == Event::delay) usleep(static_cast<useconds_t>(event.ms * 1000));
    while (event.what == Event::hang) pause();
    if (event.what == Event::crash) std::raise(SIGSEGV);
  }
  return code;
}

template <class T>
void put(void* to, size_t offset, T value) {
  std::memcpy(static_cast<char*>(to) + offset, &value, sizeof value);
}

int put_text(const std::string& text, char* to, unsigned room) {
  if (to == nullptr) return invalid_argument;
  if (text.size() + 1 > room) return insufficient_size;
  std::memcpy(to, text.c_str(), text.size() + 1);
  return ok;
}

// nvmlPciInfo_t begins with the address as text in 16 bytes and as numbers; the id of vendor and device
// follows (32 bytes: the first version), of the subsystem and 16 bytes reserved (52: _v2), or of the subsystem
// and the address with a wide domain in 32 bytes (68: _v3).
void put_pci(void* to, const Pci& pci, size_t bytes) {
  std::memset(to, 0, bytes);
  char narrow[40], wide[40];
  std::snprintf(narrow, sizeof narrow, "%04X:%02X:%02X.0", pci.domain & 0xffff, pci.bus & 0xff, pci.device & 0xff);
  std::snprintf(wide, sizeof wide, "%08X:%02X:%02X.0", pci.domain, pci.bus, pci.device);
  std::memcpy(to, narrow, std::min<size_t>(16, std::strlen(narrow) + 1));
  put(to, 16, pci.domain);
  put(to, 20, pci.bus);
  put(to, 24, pci.device);
  put(to, 28, 0x20b010deU);
  if (bytes >= 52) put(to, 32, 0x134f10deU);
  if (bytes == 68) std::memcpy(static_cast<char*>(to) + 36, wide, std::strlen(wide) + 1);
}

int put_processes(const char* call, Thing* thing, unsigned* count, void* to, List list, size_t entry_bytes) {
  if (const int code = enter(call, thing); code != ok) return code;
  std::vector<Process> listed;
  for (const Process& process : thing->processes)
    if ((process.lists & list) != 0) listed.push_back(process);
  if (list == compute)
    for (const Process& process : held_on(*thing).living) listed.push_back(process);
  const unsigned room = *count;
  *count = static_cast<unsigned>(listed.size());
  if (listed.size() > room || (to == nullptr && !listed.empty())) return insufficient_size;
  if (world->fill && to != nullptr) std::memset(to, 0, room * entry_bytes);
  for (size_t i = 0; i < listed.size(); ++i) {
    char* const entry = static_cast<char*>(to) + i * entry_bytes;
    put(entry, 0, listed[i].pid);
    put(entry, 8, listed[i].bytes);
    if (entry_bytes >= 24) put(entry, 16, ~uint64_t{0});  // two ids: none
    if (entry_bytes >= 32) put(entry, 24, uint64_t{0});
  }
  return ok;
}

Link* link_at(Thing* thing, unsigned number) {
  const auto found = thing->links.find(number);
  return found == thing->links.end() ? nullptr : &found->second;
}

int link_code(const Thing* thing, unsigned number) {
  if (thing->links.empty()) return not_supported;
  return number > thing->links.rbegin()->first ? invalid_argument : ok;
}

int start(const char* call) {
  const char* path = std::getenv("STANDIN_NVML");
  if (path == nullptr || *path == '\0') return driver_not_loaded;
  auto fresh = read_world(path);
  if (fresh == nullptr) return driver_not_loaded;
  if (world != nullptr) past.push_back(std::move(world));
  world = std::move(fresh);
  if (const int code = enter(call, nullptr); code != ok) {
    past.push_back(std::move(world));
    return code;
  }
  ++started;
  return ok;
}

}  // namespace

// --- The symbols ---------------------------------------------------------------------------------

// Declared first, for a function that others call should be.
#define EXPORT(name, ...)           \
  extern "C" int name(__VA_ARGS__); \
  extern "C" int name(__VA_ARGS__)

EXPORT(nvmlInit_v2, void) { return start("nvmlInit_v2"); }
EXPORT(nvmlInit, void) { return start("nvmlInit"); }

EXPORT(nvmlShutdown, void) {
  if (const int code = enter("nvmlShutdown", nullptr); code != ok) return code;
  if (--started == 0) past.push_back(std::move(world));
  return ok;
}

extern "C" const char* nvmlErrorString(int code);
extern "C" const char* nvmlErrorString(int code) {
  switch (code) {
    case ok: return "The operation was successful";
    case uninitialized: return "Uninitialized";
    case invalid_argument: return "Invalid Argument";
    case not_supported: return "Not Supported";
    case 4: return "Insufficient Permissions";
    case not_found: return "Not Found";
    case insufficient_size: return "Insufficient Size";
    case driver_not_loaded: return "Driver Not Loaded";
    case function_not_found: return "Function Not Found";
    case 15: return "GPU is lost";
    case 16: return "GPU requires reset";
    case 17: return "GPU access blocked by the operating system";
    case 18: return "Driver/library version mismatch";
    default: return "Unknown Error";
  }
}

#define COUNT(name)                                                \
  EXPORT(name, unsigned* count) {                                  \
    if (const int code = enter(#name, nullptr); code) return code; \
    *count = static_cast<unsigned>(world->cards.size());           \
    return ok;                                                     \
  }
COUNT(nvmlDeviceGetCount_v2)
COUNT(nvmlDeviceGetCount)

#define BY_INDEX(name)                                                                            \
  EXPORT(name, unsigned index, Thing** handle) {                                                  \
    if (world == nullptr) return uninitialized;                                                   \
    if (index >= world->cards.size()) return invalid_argument;                                    \
    Thing* thing = world->cards[index < world->order.size() ? world->order[index] : index].get(); \
    if (const int code = enter(#name, thing); code) return code;                                  \
    *handle = thing;                                                                              \
    return ok;                                                                                    \
  }
BY_INDEX(nvmlDeviceGetHandleByIndex_v2)
BY_INDEX(nvmlDeviceGetHandleByIndex)

EXPORT(nvmlDeviceGetUUID, Thing* thing, char* to, unsigned room) {
  const int code = enter("nvmlDeviceGetUUID", thing);
  return code != ok ? code : put_text(thing->uuid, to, room);
}

EXPORT(nvmlDeviceGetName, Thing* thing, char* to, unsigned room) {
  const int code = enter("nvmlDeviceGetName", thing);
  return code != ok ? code : put_text(thing->name, to, room);
}

#define PCI(name, bytes)                                         \
  EXPORT(name, Thing* thing, void* to) {                         \
    if (const int code = enter(#name, thing); code) return code; \
    put_pci(to, thing->pci, bytes);                              \
    return ok;                                                   \
  }
PCI(nvmlDeviceGetPciInfo_v3, 68)
PCI(nvmlDeviceGetPciInfo_v2, 52)
PCI(nvmlDeviceGetPciInfo, 32)

EXPORT(nvmlDeviceGetMemoryInfo_v2, Thing* thing, void* to) {
  if (const int code = enter("nvmlDeviceGetMemoryInfo_v2", thing); code != ok) return code;
  unsigned version = 0;
  std::memcpy(&version, to, sizeof version);
  if (version != 0x02000028U) return function_not_found;
  if (!thing->has_memory) return not_supported;
  // What lingers may be more than there is, beside those who came after it.
  const uint64_t used = std::min(thing->total - thing->reserved, thing->used + held_on(*thing).bytes);
  put(to, 8, thing->total);
  put(to, 16, thing->reserved);
  put(to, 24, thing->total - thing->reserved - used);
  put(to, 32, used);
  return ok;
}

EXPORT(nvmlDeviceGetMemoryInfo, Thing* thing, void* to) {
  if (const int code = enter("nvmlDeviceGetMemoryInfo", thing); code != ok) return code;
  if (!thing->has_memory) return not_supported;
  const uint64_t used = std::min(thing->total, thing->used + thing->reserved + held_on(*thing).bytes);
  put(to, 0, thing->total);
  put(to, 8, thing->total - used);
  put(to, 16, used);
  return ok;
}

EXPORT(nvmlDeviceGetUtilizationRates, Thing* thing, void* to) {
  if (const int code = enter("nvmlDeviceGetUtilizationRates", thing); code != ok) return code;
  if (thing->util < 0 || thing->is_mig) return not_supported;
  put(to, 0, static_cast<unsigned>(thing->util));
  put(to, 4, 0U);
  return ok;
}

EXPORT(nvmlDeviceGetComputeMode, Thing* thing, unsigned* mode) {
  if (const int code = enter("nvmlDeviceGetComputeMode", thing); code != ok) return code;
  *mode = thing->mode;
  return ok;
}

#define PROCESSES(name, list, bytes) \
  EXPORT(name, Thing* thing, unsigned* count, void* to) { return put_processes(#name, thing, count, to, list, bytes); }
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3, compute, world ? world->entry_bytes : 24)
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2, compute, 24)
PROCESSES(nvmlDeviceGetComputeRunningProcesses, compute, 16)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3, graphics, world ? world->entry_bytes : 24)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2, graphics, 24)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses, graphics, 16)
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v3, mps, world ? world->entry_bytes : 24)
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v2, mps, 24)
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses, mps, 16)

EXPORT(nvmlDeviceGetMigMode, Thing* thing, unsigned* current, unsigned* pending) {
  if (const int code = enter("nvmlDeviceGetMigMode", thing); code != ok) return code;
  *current = *pending = thing->is_mig ? 1 : 0;
  return ok;
}

EXPORT(nvmlDeviceGetMaxMigDeviceCount, Thing* thing, unsigned* count) {
  if (const int code = enter("nvmlDeviceGetMaxMigDeviceCount", thing); code != ok) return code;
  *count = thing->is_mig ? thing->slots : 0;
  return ok;
}

EXPORT(nvmlDeviceGetMigDeviceHandleByIndex, Thing* thing, unsigned slot, Thing** slice) {
  if (const int code = enter("nvmlDeviceGetMigDeviceHandleByIndex", thing); code != ok) return code;
  const auto found = thing->slices.find(slot);
  if (found == thing->slices.end()) return not_found;
  *slice = found->second.get();
  return ok;
}

EXPORT(nvmlDeviceGetNvLinkState, Thing* thing, unsigned number, unsigned* active) {
  if (const int code = enter("nvmlDeviceGetNvLinkState", thing); code != ok) return code;
  if (const int code = link_code(thing, number); code != ok) return code;
  const Link* link = link_at(thing, number);
  *active = link != nullptr && link->active ? 1 : 0;
  return ok;
}

EXPORT(nvmlDeviceGetNvLinkRemoteDeviceType, Thing* thing, unsigned number, unsigned* type) {
  if (const int code = enter("nvmlDeviceGetNvLinkRemoteDeviceType", thing); code != ok) return code;
  const Link* link = link_at(thing, number);
  if (link == nullptr || !link->active) return not_supported;
  *type = link->type;
  return ok;
}

#define REMOTE_PCI(name, bytes)                                  \
  EXPORT(name, Thing* thing, unsigned number, void* to) {        \
    if (const int code = enter(#name, thing); code) return code; \
    const Link* link = link_at(thing, number);                   \
    if (link == nullptr || !link->active) return not_supported;  \
    put_pci(to, link->remote, bytes);                            \
    return ok;                                                   \
  }
REMOTE_PCI(nvmlDeviceGetNvLinkRemotePciInfo_v2, 68)
REMOTE_PCI(nvmlDeviceGetNvLinkRemotePciInfo, 52)
