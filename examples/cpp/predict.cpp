// A bundle without kanjo, in C++ with ONNX Runtime: predict model.onnx WINDOW < samples.f32
// (WINDOW: window_s x sample_rate of bundle.json; samples: mono float32 at that rate). Prints the probabilities in the labels' order.
// g++ -std=c++17 predict.cpp -I ORT/include -L ORT/lib -lonnxruntime -o predict
#include <onnxruntime_cxx_api.h>

#include <array>
#include <cstdlib>
#include <iostream>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 3) return std::cerr << "usage: predict model.onnx WINDOW < samples.f32\n", 2;
  std::vector<float> signal(std::strtoul(argv[2], nullptr, 10));  // what is missing stays silent
  std::cin.read(reinterpret_cast<char*>(signal.data()), signal.size() * sizeof(float));

  Ort::Env env;
  Ort::Session session(env, argv[1], Ort::SessionOptions{});
  const std::array<int64_t, 2> shape{1, static_cast<int64_t>(signal.size())};
  auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  auto input = Ort::Value::CreateTensor<float>(memory, signal.data(), signal.size(), shape.data(), shape.size());
  const char *inputs[] = {"signal"}, *outputs[] = {"probabilities"};
  auto answer = session.Run(Ort::RunOptions{}, inputs, &input, 1, outputs, 1);
  const auto* shares = answer[0].GetTensorData<float>();
  for (size_t n = 0; n < answer[0].GetTensorTypeAndShapeInfo().GetElementCount(); ++n) std::cout << shares[n] << "\n";
}
