// Many simulators of one agent each, in C++: each in a thread, with a connection of its own.
//
//     many_simulators ADDRESS METHOD SIMULATORS WARM_UP_S SECONDS
//
// With the trainer's METHOD each says Hello and then sends Steps, one at a time; any other METHOD is
// sent the same Steps and nothing is made of the answers. Prints "begin" when the warm-up is over,
// and "end MESSAGES" after SECONDS: what all simulators together were answered meanwhile.

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#include "trainer.pb.h"

namespace pb = entrain::v1;

constexpr char kTrainer[] = "/entrain.v1.Trainer/Connect";
constexpr char kBehaviour[] = "serving";
constexpr int kObservations = 8;
constexpr char kFirst = 1, kMid = 2;

std::atomic<bool> is_over{false};
std::atomic<long> answered{0};

[[noreturn]] void fail(const std::string& what) {
  std::cerr << "many_simulators: " << what << std::endl;
  std::_Exit(1);
}

// One stream of bytes; each call returns when it is done.
class Stream {
 public:
  Stream(const std::string& address, const std::string& method) {
    grpc::ChannelArguments arguments;
    // Otherwise simulators of one process would share a connection.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    stub_ = std::make_unique<grpc::GenericStub>(
        grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
    call_ = stub_->PrepareCall(&context_, method, &queue_);
    call_->StartCall(this);
    wait("StartCall");
  }

  void send(const pb::ConnectRequest& request) {
    const grpc::Slice slice(request.SerializeAsString());
    call_->Write(grpc::ByteBuffer(&slice, 1), this);
    wait("Write");
  }

  std::string receive() {
    grpc::ByteBuffer buffer;
    call_->Read(&buffer, this);
    wait("Read");
    grpc::Slice slice;
    if (!buffer.DumpToSingleSlice(&slice).ok()) fail("an answer cannot be read");
    return std::string(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }

 private:
  void wait(const char* what) {
    void* tag = nullptr;
    bool ok = false;
    if (!queue_.Next(&tag, &ok) || !ok) fail(std::string("the stream broke in ") + what);
  }

  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericStub> stub_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

pb::ConnectRequest hello(int number) {
  pb::ConnectRequest request;
  pb::Hello* hello = request.mutable_hello();
  hello->set_min_version(1);
  hello->set_max_version(1);
  hello->set_simulator("one-" + std::to_string(number));
  hello->set_instance_id(std::to_string(getpid()) + "-" + std::to_string(number));
  pb::BehaviourSpec* spec = hello->add_behaviours();
  spec->set_name(kBehaviour);
  pb::ObservationSpec* observation = spec->add_observations();
  observation->set_name("vector");
  observation->add_shape(kObservations);
  observation->set_dtype(pb::DTYPE_FLOAT32);
  for (int i = 0; i < 2; ++i) {
    spec->mutable_action()->add_low(-1.0f);
    spec->mutable_action()->add_high(1.0f);
  }
  return request;
}

// A simulator of one agent, whose rows are the same each time.
void simulate(const std::string& address, const std::string& method, int number) {
  // Never freed: the process ends with it.
  Stream& stream = *new Stream(address, method);
  const bool is_trainer = method == kTrainer;
  if (is_trainer) {
    stream.send(hello(number));
    stream.receive();
  }
  pb::ConnectRequest request;
  pb::BehaviourStep* rows = request.mutable_step()->add_behaviours();
  rows->set_behaviour(kBehaviour);
  rows->set_agent_id(std::string(8, '\0'));
  rows->set_step_type(std::string(1, kFirst));
  rows->set_reward(std::string(4, '\0'));
  rows->add_observations(std::string(4 * kObservations, '\0'));
  pb::ConnectResponse response;
  for (long sequence = 1; !is_over.load(std::memory_order_relaxed); ++sequence) {
    request.mutable_step()->set_sequence(sequence);
    stream.send(request);
    const std::string bytes = stream.receive();
    if (is_trainer) {
      if (!response.ParseFromString(bytes) || !response.has_act()) {
        fail("expected an Act, got " + response.ShortDebugString());
      }
      if (response.act().behaviours(0).continuous().size() != 8) fail("expected two numbers");
    }
    rows->set_step_type(std::string(1, kMid));
    answered.fetch_add(1, std::memory_order_relaxed);
  }
  if (is_trainer) {
    request.mutable_goodbye();
    stream.send(request);
  }
}

int main(int count, char** arguments) {
  if (count != 6) fail("usage: many_simulators ADDRESS METHOD SIMULATORS WARM_UP_S SECONDS");
  const int simulators = std::atoi(arguments[3]);
  std::vector<std::thread> threads;
  for (int number = 0; number < simulators; ++number) {
    threads.emplace_back(simulate, arguments[1], arguments[2], number);
  }
  std::this_thread::sleep_for(std::chrono::duration<double>(std::atof(arguments[4])));
  std::cout << "begin" << std::endl;
  const long before = answered;
  std::this_thread::sleep_for(std::chrono::duration<double>(std::atof(arguments[5])));
  std::cout << "end " << answered - before << std::endl;
  is_over = true;
  for (std::thread& thread : threads) thread.join();
  std::_Exit(0);
}
