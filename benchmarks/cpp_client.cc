// The C++ simulator of cpp_client.py: sends rows, and says what a round trip cost it.
//
//     cpp_client ADDRESS AGENTS EXCHANGES
#include <cstdio>
#include <cstdlib>
#include <new>

#include <sys/resource.h>

#include "entrain/client.hpp"

namespace {

std::uint64_t allocated_bytes = 0;

double processor_s() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

}  // namespace

// Not inlined, or g++ takes what is freed for something that another function allocated.
[[gnu::noinline]] void* operator new(std::size_t size) {
  allocated_bytes += size;
  void* memory = std::malloc(size);
  if (memory == nullptr) std::abort();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

int main(int count, char** words) {
  if (count != 4) return 2;
  const int agents = std::atoi(words[2]), exchanges = std::atoi(words[3]);
  entrain::Client client(entrain::options_for(words[1], "cpp"),
                         {{"walker", {{"body", {8}}}, {{-1, -1}, {1, 1}, {}}}});
  entrain::News news = client.connect();
  double began_s = 0.0;
  std::uint64_t before = 0;
  for (int step = 0; step <= exchanges && news != entrain::News::over; ++step) {
    // The first is greeting and growth.
    if (step == 1) began_s = processor_s();
    if (step == 1) before = allocated_bytes;
    for (int agent = 0; agent < agents; ++agent) {
      entrain::Row row =
          step == 0 ? client.rows().first(agent) : client.rows().mid(agent, 1.0f);
      const float at = client.actions().size() == 0 ? 0.0f : client.actions().continuous(0)[0];
      row.observe({at, 1, 2, 3, 4, 5, 6, 7});
    }
    news = client.exchange();
  }
  const double used_s = processor_s() - began_s;
  const std::uint64_t allocated = allocated_bytes - before;
  std::printf("%.3f %llu\n", 1e6 * used_s / exchanges, static_cast<unsigned long long>(allocated));
  return news == entrain::News::over ? 1 : 0;
}
