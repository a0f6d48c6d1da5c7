// The verbs. Each takes the words after its name and returns the exit status.
#pragma once

#include <string>
#include <vector>

namespace berth {

using Words = std::vector<std::string>;

int run_command(const Words& words);
int hold_command(const Words& words);
int adopt_command(const Words& words);
int doctor_command(const Words& words);
int status_command(const Words& words);
int set_command(const Words& words);
int unset_command(const Words& words);
int release_command(const Words& words);
int resize_command(const Words& words);
int reclaim_command(const Words& words);
int busy_command(const Words& words);
int history_command(const Words& words);
int demo_command(const Words& words, const char* self_path);

// The help of a verb ("" for berth itself), or "" where there is none.
std::string help_text(const std::string& verb);

}  // namespace berth
