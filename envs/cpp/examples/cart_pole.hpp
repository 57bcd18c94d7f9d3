// A game in Box2D: a pole stands on a cart, which is pushed to the left or right. It knows no
// trainer; examples/box2d.cpp and examples/tick.cpp connect it to one.
#pragma once

#include <array>
#include <cmath>
#include <memory>
#include <random>

#include <box2d/box2d.h>

/// One cart on its rail, in a world of its own. Metres, seconds, radians.
class CartPole {
 public:
  static constexpr float frame_s = 0.02f;
  static constexpr int longest = 400;  // frames of an episode

  explicit CartPole(unsigned seed = 0) : random_(seed) { reset(); }

  /// A new pole, nearly upright.
  void reset() {
    std::uniform_real_distribution<float> tilt(-0.05f, 0.05f);
    frames_ = 0;
    world_ = std::make_unique<b2World>(b2Vec2(0.0f, -9.8f));
    b2BodyDef rail;
    b2Body* const ground = world_->CreateBody(&rail);
    cart_ = box({0.0f, 0.0f}, 0.3f, 0.15f, 0.0f, 11.0f);
    b2PrismaticJointDef slide;
    slide.Initialize(ground, cart_, {0.0f, 0.0f}, {1.0f, 0.0f});
    world_->CreateJoint(&slide);
    const float angle = tilt(random_);
    pole_ = box({-0.5f * std::sin(angle), 0.5f * std::cos(angle)}, 0.03f, 0.5f, angle, 1.5f);
    b2RevoluteJointDef hinge;
    hinge.Initialize(cart_, pole_, {0.0f, 0.0f});
    world_->CreateJoint(&hinge);
  }

  /// One frame; `push` is from -1 to 1.
  void step(float push) {
    ++frames_;
    cart_->ApplyForceToCenter({10.0f * push, 0.0f}, true);
    world_->Step(frame_s, 8, 3);
  }

  std::array<float, 4> state() const {
    return {cart_->GetPosition().x, cart_->GetLinearVelocity().x, pole_->GetAngle(),
            pole_->GetAngularVelocity()};
  }
  bool has_fallen() const {
    return std::abs(pole_->GetAngle()) > 0.3f || std::abs(cart_->GetPosition().x) > 2.4f;
  }
  bool is_over() const { return frames_ == longest; }

 private:
  b2Body* box(b2Vec2 centre, float half_width, float half_height, float angle, float density) {
    b2BodyDef body;
    body.type = b2_dynamicBody;
    body.position = centre;
    body.angle = angle;
    body.allowSleep = false;
    b2PolygonShape shape;
    shape.SetAsBox(half_width, half_height);
    b2FixtureDef fixture;
    fixture.shape = &shape;
    fixture.density = density;
    fixture.filter.maskBits = 0;  // cart and pole do not touch
    b2Body* const made = world_->CreateBody(&body);
    made->CreateFixture(&fixture);
    return made;
  }

  std::mt19937 random_;
  std::unique_ptr<b2World> world_;
  b2Body* cart_ = nullptr;
  b2Body* pole_ = nullptr;
  int frames_ = 0;
};
